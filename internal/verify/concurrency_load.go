package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"miniforge/internal/bench"
	"miniforge/internal/drive"
	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

// A situation is stock of one miniature and the orders that compete for it.
type situation struct {
	name    string
	title   string
	stocked int
	make    func(i int) (token string, quantity int)
	// sold is how much must be sold in the end, given the orders that were
	// confirmed and how much they took.
	sold func(confirmed, taken int) int

	sku      string
	orders   int
	window   []reading    // of the stock, while orders flowed
	cut      int64        // when the window ended; forever if it holds all
	finished atomic.Int64 // orders that have ended
	final    reading
}

// situations are those in which n orders compete.
func situations(n int) []*situation {
	visa := func(int) (string, int) { return "tok_visa", 1 }
	half := max(n/2, 1)
	demand := 0
	some := func(i int) (string, int) { return "tok_visa", 1 + i%3 }
	for i := range n {
		_, quantity := some(i)
		demand += quantity
	}
	all := func(stock int) func(int, int) int { return func(int, int) int { return min(stock, n) } }
	return []*situation{
		{name: "single", title: "of many orders for a single unit one gets it", stocked: 1, make: visa, sold: all(1)},
		{name: "scarce", title: "scarce stock is sold to the last unit and not beyond", stocked: half, make: visa, sold: all(half)},
		{name: "ample", title: "of ample stock exactly what was ordered is sold", stocked: 2 * demand, make: some, sold: func(int, int) int { return demand }},
		// Every third order gives back what it held, for others to take: how
		// many are confirmed depends on who comes when.
		{name: "returned", title: "what declined orders give back is sold to others, and no unit twice", stocked: half, make: func(i int) (string, int) {
			if i%3 == 2 {
				return "tok_declined", 1
			}
			return "tok_visa", 1
		}, sold: func(_, taken int) int { return taken }},
	}
}

// A twin is a way in which a request arrives more than once.
type twin int

const (
	alone    twin = iota
	together      // three times at once
	again         // once more as soon as it was answered
	late          // once more when the order has ended
)

func twinOf(i int) twin {
	switch i % 10 {
	case 1, 6:
		return together
	case 3:
		return again
	case 5:
		return late
	default:
		return alone
	}
}

// A job is one order that a client is to place; a fate is what became of it.
type job struct {
	in      *situation
	key, id string
	request order.Request
	twin    twin
}

type fate struct {
	posted
	answers []string // the id in each answer
	state   order.State
	ended   time.Time // when that was noticed
	err     error
}

// load is many orders placed by many clients, and what became of them.
type load struct {
	situations []*situation
	jobs       []job
	fates      []fate
	clients    int
	took       time.Duration
	posts      *bench.Histogram
	requests   atomic.Int64 // sent, also those that were not answered
	mu         sync.Mutex   // of the fates' answers
	orders     []order.Order
	unsettled  error // why not all came to rest
}

// newLoad plans orders over all situations, so that they compete with each
// other, too.
func (l *lab) newLoad(ctx context.Context, orders, clients int) (*load, error) {
	share := max(orders/4, min(orders, 10))
	d := &load{situations: situations(share), clients: clients, posts: bench.NewHistogram()}
	for _, s := range d.situations {
		sku, err := l.newSKU(ctx, s.stocked)
		if err != nil {
			return nil, err
		}
		s.sku, s.orders, s.cut = sku, share, forever
	}
	for i := range share {
		for _, s := range d.situations {
			token, quantity := s.make(i)
			key := l.newKey()
			d.jobs = append(d.jobs, job{
				in: s, key: key, id: order.IDForKey(key), twin: twinOf(i),
				request: request(token, order.Item{SKU: s.sku, Quantity: quantity}),
			})
		}
	}
	d.fates = make([]fate, len(d.jobs))
	return d, nil
}

// crowd runs the load: each client places an order, waits for its end, and
// takes the next.
func (r *Run) crowd(ctx context.Context) (*load, error) {
	client, err := r.lab.connect(ctx)
	if err != nil {
		return nil, err
	}
	d, err := r.lab.newLoad(ctx, r.o.Orders, r.o.Clients)
	if err != nil {
		return nil, err
	}
	r.lab.adopt(d)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	w := drive.NewWatch(func(ctx context.Context, ids []string) ([]order.View, error) {
		return orderdb.ReadViews(ctx, r.stack.Clients.DynamoDB, r.stack.Orders(), ids, orderdb.OrderKey, "status")
	})
	var background sync.WaitGroup
	background.Go(func() { w.Run(watching) })
	for _, s := range d.situations {
		background.Go(func() { r.lab.observe(watching, s) })
	}
	start := time.Now()
	var eg errgroup.Group
	eg.SetLimit(d.clients)
	for i := range d.jobs {
		eg.Go(func() error {
			d.fates[i] = r.place(ctx, client, w, d, d.jobs[i])
			d.jobs[i].in.finished.Add(1)
			return nil
		})
	}
	_ = eg.Wait() // errors are fates
	d.took = time.Since(start)
	stop()
	background.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	d.unsettled = r.lab.settle(ctx, d)
	return d, nil
}

// place carries out a job.
func (r *Run) place(ctx context.Context, c *drive.Client, w *drive.Watch, d *load, j job) fate {
	ctx, cancel := context.WithTimeoutCause(ctx, r.o.Patience, fmt.Errorf("not within %s", r.o.Patience))
	defer cancel()
	f := fate{posted: posted{sent: time.Now()}}
	times := 1
	if j.twin == together {
		times = 3
	}
	answers, err := concurrently(times, func() (time.Time, error) { return d.post(ctx, c, j, &f) })
	if err != nil {
		f.err = err
		return f
	}
	f.answered = answers[0]
	for _, at := range answers {
		if at.Before(f.answered) {
			f.answered = at
		}
	}
	if j.twin == again {
		_, f.err = d.post(ctx, c, j, &f)
	}
	v, awaiting := w.Await(ctx, j.id)
	f.state, f.ended = v.Status, time.Now()
	if f.err = errors.Join(f.err, awaiting); f.err == nil && j.twin == late {
		_, f.err = d.post(ctx, c, j, &f)
	}
	return f
}

// post sends a request until it is answered, and notes the answer. It returns
// when the answer came.
func (d *load) post(ctx context.Context, c *drive.Client, j job, f *fate) (time.Time, error) {
	const often = 1000 // until ctx ends
	a, err := c.PlacePatiently(ctx, j.request, j.key, often)
	at := time.Now()
	d.requests.Add(int64(max(a.Tries, 1)))
	if err != nil {
		return at, fmt.Errorf("order %s: %w", j.id, err)
	}
	d.posts.Record(a.Took)
	d.mu.Lock()
	defer d.mu.Unlock()
	f.answers = append(f.answers, a.ID)
	return at, nil
}

// windowOrders bounds the window in which the history of a miniature is judged:
// so many orders, and those that are under way with the last of them.
const windowOrders = 250

// observe reads a miniature's stock again and again until enough has been seen
// or ctx ends. A read that fails has seen nothing.
func (l *lab) observe(ctx context.Context, s *situation) {
	const between = 15 * time.Millisecond
	for ctx.Err() == nil {
		if s.finished.Load() > windowOrders {
			if n := len(s.window); n > 0 {
				s.cut = s.window[n-1].call
			}
			return
		}
		if reading, err := l.readStock(ctx, s.sku); err == nil {
			s.window = append(s.window, reading)
		}
		_ = sleep(ctx, between) // the loop's condition tells
	}
}

func (l *lab) readStock(ctx context.Context, sku string) (reading, error) {
	call := time.Now().UnixNano()
	stock, err := l.stockOf(ctx, sku)
	return reading{call: call, ret: time.Now().UnixNano(), stock: stock}, err
}
