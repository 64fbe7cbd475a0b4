package orderdb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/order"
)

// readBatch is how many items a BatchGetItem gives.
const readBatch = 100

// BatchReader is what ReadOrders asks of DynamoDB.
type BatchReader interface {
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
}

// ReadOrders reads orders by their ids, up to a hundred by one request; ids
// without an order have none in the answer. only names the attributes to read,
// all if there are none.
func ReadOrders(ctx context.Context, db BatchReader, table string, ids []string, only ...string) ([]order.Order, error) {
	var orders []order.Order
	for batch := range slices.Chunk(ids, readBatch) {
		keys := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
		for _, id := range batch {
			keys.Keys = append(keys.Keys, Key(OrderKey, id))
		}
		if len(only) > 0 {
			keys.ExpressionAttributeNames = map[string]string{}
			aliases := make([]string, len(only))
			for i, name := range only {
				aliases[i] = fmt.Sprintf("#a%d", i)
				keys.ExpressionAttributeNames[aliases[i]] = name
			}
			keys.ProjectionExpression = aws.String(strings.Join(aliases, ", "))
		}
		ask := map[string]types.KeysAndAttributes{table: keys}
		for pause := 20 * time.Millisecond; len(ask) > 0; pause = min(2*pause, time.Second) {
			out, err := db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: ask})
			if err != nil {
				return nil, fmt.Errorf("read orders: %w", err)
			}
			for _, item := range out.Responses[table] {
				var o order.Order
				if err := Unmarshal(item, &o); err != nil {
					return nil, fmt.Errorf("read orders: %w", err)
				}
				orders = append(orders, o)
			}
			if ask = out.UnprocessedKeys; len(ask) == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("read orders: %w", context.Cause(ctx))
			case <-time.After(pause):
			}
		}
	}
	return orders, nil
}

// ReadViews is ReadOrders for who wants to see them as the API shows them.
func ReadViews(ctx context.Context, db BatchReader, table string, ids []string, only ...string) ([]order.View, error) {
	orders, err := ReadOrders(ctx, db, table, ids, only...)
	views := make([]order.View, len(orders))
	for i, o := range orders {
		views[i] = o.View()
	}
	return views, err
}
