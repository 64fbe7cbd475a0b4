package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"

	"miniforge/internal/drive"
	"miniforge/internal/order"
	"miniforge/internal/orderdb"
	"miniforge/internal/stack"
)

// probePrefix begins the SKUs that verification puts on the shelf for itself.
const probePrefix = "MF-PROBE-"

// lab is what the checks of one run experiment with: stock of their own,
// orders of their own, and an eye on the queues. It remembers what it made.
type lab struct {
	stack *stack.Stack
	o     Options
	run   string // tells this run's things from those of any other

	notifications, deadLetters *mailbox

	connect func(context.Context) (*drive.Client, error)

	mu     sync.Mutex
	skus   []string
	orders map[string]bool // ids
	loads  []*load
}

func newLab(s *stack.Stack, o Options) *lab {
	l := &lab{
		stack: s, o: o, run: rand.Text()[:10], orders: map[string]bool{},
		notifications: newMailbox(s.Clients.SQS, s.Notifications()),
		deadLetters:   newMailbox(s.Clients.SQS, s.DeadLetters()),
	}
	var mu sync.Mutex
	var client *drive.Client
	l.connect = func(ctx context.Context) (*drive.Client, error) {
		mu.Lock()
		defer mu.Unlock()
		if client == nil {
			url, err := s.Endpoint(ctx)
			if err != nil {
				return nil, fmt.Errorf("find the API: %w", err)
			}
			client = &drive.Client{URL: url, HTTP: o.HTTP}
		}
		return client, nil
	}
	return l
}

// newSKU puts a miniature on the shelf that nobody else orders.
func (l *lab) newSKU(ctx context.Context, quantity int) (string, error) {
	l.mu.Lock()
	sku := fmt.Sprintf("%s%s-%02d", probePrefix, l.run, len(l.skus)+1)
	l.skus = append(l.skus, sku)
	l.mu.Unlock()
	item, err := orderdb.Marshal(order.Stocked(sku, "Probe of miniforge verify", quantity))
	if err != nil {
		return "", err
	}
	_, err = l.stack.Clients.DynamoDB.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(l.stack.Inventory()), Item: item})
	if err != nil {
		return "", fmt.Errorf("stock probe %s: %w", sku, err)
	}
	return sku, nil
}

// newKey makes an idempotency key of this run.
func (l *lab) newKey() string { return "verify-" + l.run + "-" + rand.Text() }

// request is an order of the lab.
func request(token string, items ...order.Item) order.Request {
	return order.Request{
		Customer: order.Customer{Name: "Miniforge Verification", Email: "verify@miniforge.example"},
		Items:    items, Payment: order.Payment{Token: token},
	}
}

// place places an order under a new key.
func (l *lab) place(ctx context.Context, r order.Request) (drive.Accepted, error) {
	return l.placeAs(ctx, r, l.newKey())
}

func (l *lab) placeAs(ctx context.Context, r order.Request, key string) (drive.Accepted, error) {
	l.track(order.IDForKey(key)) // before it exists: nothing must escape the tidying
	c, err := l.connect(ctx)
	if err != nil {
		return drive.Accepted{}, err
	}
	return c.Place(ctx, r, key)
}

func (l *lab) track(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.orders[id] = true
}

// fulfil places an order and follows it until all is done for it. It returns
// the order as stored, whatever its end is.
func (l *lab) fulfil(ctx context.Context, r order.Request) (order.Order, error) {
	accepted, err := l.place(ctx, r)
	if err != nil {
		return order.Order{}, err
	}
	return l.settled(ctx, accepted.ID)
}

// settled waits until all is done for an order.
func (l *lab) settled(ctx context.Context, id string) (order.Order, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.o.Patience, fmt.Errorf("not within %s", l.o.Patience))
	defer cancel()
	c, err := l.connect(ctx)
	if err != nil {
		return order.Order{}, err
	}
	if _, err := c.AwaitSettled(ctx, id); err != nil {
		return order.Order{}, err
	}
	// Announcing and selling are branches of their own; the order is settled
	// when it holds nothing any more either.
	for {
		o, err := l.order(ctx, id)
		if err != nil {
			return order.Order{}, err
		}
		held, err := l.holds(ctx, o)
		if err != nil || !held {
			return o, err
		}
		select {
		case <-ctx.Done():
			return order.Order{}, fmt.Errorf("order %s still holds stock: %w", id, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (l *lab) holds(ctx context.Context, o order.Order) (bool, error) {
	for _, item := range o.Items {
		s, err := l.stockOf(ctx, item.SKU)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			return false, err
		}
		if _, held := s.Holds[o.ID]; held {
			return true, nil
		}
	}
	return false, nil
}

// errAbsent means that there is no such item.
var errAbsent = errors.New("no such item")

// order reads an order as it is stored.
func (l *lab) order(ctx context.Context, id string) (o order.Order, err error) {
	return o, l.get(ctx, l.stack.Orders(), orderdb.Key(orderdb.OrderKey, id), &o)
}

// stockOf reads the stock of a SKU.
func (l *lab) stockOf(ctx context.Context, sku string) (s order.Stock, err error) {
	return s, l.get(ctx, l.stack.Inventory(), orderdb.Key(orderdb.StockKey, sku), &s)
}

func (l *lab) get(ctx context.Context, table string, key orderdb.Item, into any) error {
	out, err := l.stack.Clients.DynamoDB.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &table, Key: key, ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	if len(out.Item) == 0 {
		return fmt.Errorf("read %s: %w", table, errAbsent)
	}
	return orderdb.Unmarshal(out.Item, into)
}

// close takes away what the lab made: messages, orders, stock. What is still in
// flight is waited for, as deleting it would strand its workflow.
func (l *lab) close(ctx context.Context) error {
	errs := l.removeAll(ctx, l.made())
	if err := l.closeLoads(ctx); err != nil {
		errs = append(errs, err)
	}
	l.mu.Lock()
	skus := l.skus
	l.skus = nil
	l.mu.Unlock()
	if len(errs) > 0 {
		skus = nil // an order that could not be removed may still need them
	}
	for _, sku := range skus {
		_, err := l.stack.Clients.DynamoDB.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: aws.String(l.stack.Inventory()), Key: orderdb.Key(orderdb.StockKey, sku),
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("tidy up stock of %s: %w", sku, err))
		}
	}
	return errors.Join(append(errs, l.notifications.close(ctx), l.deadLetters.close(ctx))...)
}

// removeAll removes orders, several at once, when all are at rest.
func (l *lab) removeAll(ctx context.Context, ids []string) []error {
	var mu sync.Mutex
	var errs []error
	var rested []order.Order
	each(ids, func(id string) {
		o, err := l.rest(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, errAbsent): // refused, as it should have been
		case err != nil:
			errs = append(errs, fmt.Errorf("tidy up order %s: %w", id, err))
		default:
			rested = append(rested, o)
		}
	})
	// One deadline for all messages: another consumer may have taken them.
	letters, cancel := context.WithTimeout(ctx, min(lettersLate, l.o.Patience))
	defer cancel()
	each(rested, func(o order.Order) {
		if err := l.remove(ctx, letters, o); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, fmt.Errorf("tidy up order %s: %w", o.ID, err))
		}
	})
	return errs
}

// each calls f for all of a list, some at once.
func each[V any](list []V, f func(V)) {
	var eg errgroup.Group
	eg.SetLimit(8)
	for _, v := range list {
		eg.Go(func() error { f(v); return nil })
	}
	_ = eg.Wait() // no function fails
}

// rest waits until nothing happens to an order any more.
func (l *lab) rest(ctx context.Context, id string) (order.Order, error) {
	o, err := l.order(ctx, id)
	if err == nil && (!o.Status.Terminal() || o.NotifiedAt == nil) {
		return l.settled(ctx, id)
	}
	return o, err
}

// lettersLate is how long to wait for messages that are not there yet.
const lettersLate = 10 * time.Second

func (l *lab) made() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]string, 0, len(l.orders))
	for id := range l.orders {
		ids = append(ids, id)
	}
	clear(l.orders)
	return ids
}

// remove takes an order away with the messages about it, which are waited for
// as long as letters lives.
func (l *lab) remove(ctx, letters context.Context, o order.Order) error {
	err := l.notifications.discard(letters, o.ID)
	if o.DeadLetteredAt != nil {
		err = errors.Join(err, l.deadLetters.discard(letters, o.ID))
	}
	_, deleting := l.stack.Clients.DynamoDB.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: aws.String(l.stack.Orders()), Key: orderdb.Key(orderdb.OrderKey, o.ID),
	})
	return errors.Join(err, deleting)
}
