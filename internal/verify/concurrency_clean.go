package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/orderdb"
)

// writeBatch is how much a BatchWriteItem takes.
const writeBatch = 25

// deleteOrders deletes orders by their ids, 25 by one request.
func deleteOrders(ctx context.Context, db *dynamodb.Client, table string, ids []string) error {
	var mu sync.Mutex
	var errs []error
	each(slices.Collect(slices.Chunk(ids, writeBatch)), func(batch []string) {
		var writes []types.WriteRequest
		for _, id := range batch {
			writes = append(writes, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: orderdb.Key(orderdb.OrderKey, id)}})
		}
		ask := map[string][]types.WriteRequest{table: writes}
		for pause := 20 * time.Millisecond; len(ask) > 0; pause = min(2*pause, time.Second) {
			out, err := db.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: ask})
			if err == nil {
				if ask = out.UnprocessedItems; len(ask) > 0 {
					err = sleep(ctx, pause)
				}
			}
			if err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("delete orders: %w", err))
				mu.Unlock()
				return
			}
		}
	})
	return errors.Join(errs...)
}

// sleep waits for a time, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
