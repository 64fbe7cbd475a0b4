package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

// settle waits until nothing happens any more to the orders of a load and
// their stock, and keeps both as they are then.
func (l *lab) settle(ctx context.Context, d *load) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.o.Patience, fmt.Errorf("not within %s", l.o.Patience))
	defer cancel()
	var open []string
	for _, j := range d.jobs {
		open = append(open, j.id)
	}
	rested := map[string]order.Order{}
	defer func() {
		d.orders = nil
		for _, j := range d.jobs {
			if o, ok := rested[j.id]; ok {
				d.orders = append(d.orders, o)
			}
		}
	}()
	for {
		orders, err := orderdb.ReadOrders(ctx, l.stack.Clients.DynamoDB, l.stack.Orders(), open)
		if err != nil {
			return err
		}
		open = nil
		for _, o := range orders { // one that is not there was never accepted
			rested[o.ID] = o
			if !atRest(o) {
				open = append(open, o.ID)
			}
		}
		held, err := l.readFinal(ctx, d)
		if err != nil {
			return err
		}
		if len(open) == 0 && held == 0 {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("%d orders are not settled, %d units are held: %w", len(open), held, err)
		}
	}
}

// atRest reports whether the workflow has done its last for an order, except
// that a sale is booked beside the announcement.
func atRest(o order.Order) bool {
	return o.Status.Terminal() && o.NotifiedAt != nil && (o.Status == order.Confirmed || o.DeadLetteredAt != nil)
}

func (l *lab) readFinal(ctx context.Context, d *load) (held int, err error) {
	for _, s := range d.situations {
		if s.final, err = l.readStock(ctx, s.sku); err != nil {
			return 0, err
		}
		held += s.final.stock.Held()
	}
	return held, nil
}

// of are the orders of a situation.
func (d *load) of(s *situation) (orders []order.Order) {
	for _, o := range d.orders {
		if slices.ContainsFunc(o.Items, func(i order.Item) bool { return i.SKU == s.sku }) {
			orders = append(orders, o)
		}
	}
	return orders
}

// clock relates the system's clock to that of the clients.
func (d *load) clock() clock {
	posts := map[string]posted{}
	for i, f := range d.fates {
		if len(f.answers) > 0 {
			posts[d.jobs[i].id] = f.posted
		}
	}
	return measureClock(d.orders, posts)
}

// adopt makes a load be taken away in the end.
func (l *lab) adopt(d *load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loads = append(l.loads, d)
}

// closeLoads takes away what loads left: their messages and their orders. The
// stock is the lab's.
func (l *lab) closeLoads(ctx context.Context) error {
	l.mu.Lock()
	loads := l.loads
	l.loads = nil
	l.mu.Unlock()
	var errs []error
	for _, d := range loads {
		if err := l.closeLoad(ctx, d); err != nil {
			errs = append(errs, fmt.Errorf("tidy up %d orders: %w", len(d.jobs), err))
		}
	}
	return errors.Join(errs...)
}

func (l *lab) closeLoad(ctx context.Context, d *load) error {
	// After a run that was cut short, orders may be on their way still.
	if err := l.settle(ctx, d); err != nil {
		return err
	}
	var ids []string
	ends, failures := map[string]bool{}, map[string]bool{}
	for _, o := range d.orders {
		ids = append(ids, o.ID)
		ends[o.ID] = true
		if o.Status == order.Failed {
			failures[o.ID] = true
		}
	}
	letters, cancel := context.WithTimeout(ctx, min(lettersLate, l.o.Patience))
	defer cancel()
	var errs [3]error
	var wg sync.WaitGroup
	wg.Go(func() { errs[0] = l.notifications.discardAll(letters, ends) })
	wg.Go(func() { errs[1] = l.deadLetters.discardAll(letters, failures) })
	wg.Wait()
	errs[2] = deleteOrders(ctx, l.stack.Clients.DynamoDB, l.stack.Orders(), ids)
	return errors.Join(errs[:]...)
}

// gatherers is how many requests ask for messages at once.
const gatherers = 4

// gather receives until there is a message about each of these orders, or ctx
// ends, and returns the orders about which there is none.
func (m *mailbox) gather(ctx context.Context, ids map[string]bool) (missing []string, err error) {
	m.mu.Lock()
	err = m.open(ctx)
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for {
		missing = m.missing(ids)
		if len(missing) == 0 || ctx.Err() != nil {
			return missing, nil //nolint:nilerr // what came in time is the answer
		}
		counts, err := concurrently(min(gatherers, 1+len(missing)/10), func() (int, error) {
			got, err := m.ask(ctx)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.keep(got)
			return len(got), err
		})
		if err != nil && ctx.Err() == nil {
			return missing, err
		}
		if slices.Max(counts) == 0 {
			_ = sleep(ctx, pause) // the loop's condition tells
		}
	}
}

func (m *mailbox) missing(ids map[string]bool) (missing []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := make(map[string]bool, len(m.seen))
	for _, l := range m.seen {
		have[l.OrderID] = true
	}
	for id := range ids {
		if !have[id] {
			missing = append(missing, id)
		}
	}
	return missing
}

// discardAll deletes all messages about these orders, waiting for the first of
// each until ctx ends. As with discard, that there is none is no error.
func (m *mailbox) discardAll(ctx context.Context, ids map[string]bool) error {
	if _, err := m.gather(ctx, ids); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // waiting has ended, deleting has not
	defer cancel()
	m.mu.Lock()
	var found []letter
	for id, l := range m.seen {
		if ids[l.OrderID] {
			found = append(found, l)
			delete(m.seen, id)
		}
	}
	m.mu.Unlock()
	var mu sync.Mutex
	var errs []error
	each(slices.Collect(slices.Chunk(found, 10)), func(batch []letter) {
		if err := m.deleteBatch(ctx, batch); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		}
	})
	return errors.Join(errs...)
}
