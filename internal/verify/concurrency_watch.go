package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

// The limits of DynamoDB's batches.
const (
	readBatch  = 100
	writeBatch = 25
)

// readOrders reads orders by their ids, up to a hundred by one request; ids
// without an order have none in the answer. only names the attributes to read,
// all if there are none.
func readOrders(ctx context.Context, db *dynamodb.Client, table string, ids []string, only ...string) ([]order.Order, error) {
	var orders []order.Order
	for batch := range slices.Chunk(ids, readBatch) {
		keys := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
		for _, id := range batch {
			keys.Keys = append(keys.Keys, orderdb.Key(orderdb.OrderKey, id))
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
				if err := orderdb.Unmarshal(item, &o); err != nil {
					return nil, fmt.Errorf("read orders: %w", err)
				}
				orders = append(orders, o)
			}
			if ask = out.UnprocessedKeys; len(ask) > 0 {
				if err := sleep(ctx, pause); err != nil {
					return nil, fmt.Errorf("read orders: %w", err)
				}
			}
		}
	}
	return orders, nil
}

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

// watch tells many waiters when their orders have ended. It reads all orders
// that are waited for at once, so that waiting costs the system as little for
// a thousand orders as for one.
type watch struct {
	read func(ctx context.Context, ids []string) ([]order.Order, error)
	wake chan struct{}

	mu      sync.Mutex
	waiting map[string]chan order.State
	last    error // of the newest read
}

func newWatch(read func(context.Context, []string) ([]order.Order, error)) *watch {
	return &watch{read: read, wake: make(chan struct{}, 1), waiting: map[string]chan order.State{}}
}

// Reads are at least so far apart; more if they take long, so that they never
// make up more than a fifth of the time.
const (
	betweenReads = 10 * time.Millisecond
	readShare    = 4
)

// run reads as long as there is somebody who waits and ctx lives.
func (w *watch) run(ctx context.Context) {
	for {
		ids := w.awaited()
		if len(ids) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
				continue
			}
		}
		start := time.Now()
		orders, err := w.read(ctx, ids)
		w.tell(orders, err)
		if sleep(ctx, max(betweenReads, readShare*time.Since(start))) != nil {
			return
		}
	}
}

func (w *watch) awaited() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]string, 0, len(w.waiting))
	for id := range w.waiting {
		ids = append(ids, id)
	}
	return ids
}

func (w *watch) tell(orders []order.Order, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = err
	for _, o := range orders {
		if c, ok := w.waiting[o.ID]; ok && o.Status.Terminal() {
			c <- o.Status // has room for it
			delete(w.waiting, o.ID)
		}
	}
}

// await waits until an order has ended, or ctx. One at a time waits for an order.
func (w *watch) await(ctx context.Context, id string) (order.State, error) {
	c := make(chan order.State, 1)
	w.mu.Lock()
	w.waiting[id] = c
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // is awake
	}
	select {
	case state := <-c:
		return state, nil
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, id)
		return "", errors.Join(fmt.Errorf("order %s has not ended: %w", id, context.Cause(ctx)), w.last)
	}
}
