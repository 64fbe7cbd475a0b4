package sfn

import (
	"context"

	"miniforge/internal/cloud/store"
)

// save commits what has happened since the last time. It is the only writer of
// a running execution besides StopExecution, which ends it: then it returns
// errOver and what was collected is dropped.
func (r *run) save(ctx context.Context) error {
	if !r.durable {
		r.kept = append(r.kept, r.records...)
		r.cleared()
		return nil
	}
	if len(r.records) == 0 && len(r.dirty) == 0 && len(r.gone) == 0 && len(r.tokens) == 0 {
		return nil
	}
	err := r.s.DB.Update(ctx, func(tx *store.Tx) error {
		was, ok, err := progresses.Get(tx, r.x.ARN)
		if err != nil {
			return err
		}
		if !ok || !r.ours(was) {
			return errOver
		}
		if err := r.write(tx); err != nil {
			return err
		}
		if r.p.Status != running {
			return r.s.finish(tx, r.x, was.Status, r.p)
		}
		return progresses.Put(tx, r.x.ARN, r.p)
	})
	if err == nil {
		r.saved = r.p.Last
		r.cleared()
	}
	return err
}

// cleared forgets what is written.
func (r *run) cleared() {
	clear(r.records)
	r.records = r.records[:0]
	clear(r.dirty)
	clear(r.gone)
	clear(r.tokens)
	clear(r.offers)
}

func (r *run) write(tx *store.Tx) error {
	arn := r.x.ARN
	if len(r.records) > 0 {
		if err := histories.Put(tx, historyKey(arn, r.records[0].ID), r.records); err != nil {
			return err
		}
		r.s.remember(tx, r.x, r.records)
		if err := r.s.sendLog(tx, r.x, r.p, r.records); err != nil {
			return err
		}
	}
	// A successful execution cannot be redriven: its threads are of no use.
	keep := r.p.Status != succeeded
	for id := range r.gone {
		if err := threadRows.Delete(tx, threadKey(arn, id)); err != nil {
			return err
		}
	}
	for id := range r.dirty {
		t := r.threads[id]
		if t == nil || !keep {
			continue
		}
		if err := threadRows.Put(tx, threadKey(arn, id), t); err != nil {
			return err
		}
	}
	if !keep {
		for id := range r.threads {
			if err := threadRows.Delete(tx, threadKey(arn, id)); err != nil {
				return err
			}
		}
	}
	for k, v := range r.tokens {
		if v == nil {
			if err := tokens.Delete(tx, k); err != nil {
				return err
			}
			continue
		}
		if err := tokens.Put(tx, k, *v); err != nil {
			return err
		}
	}
	return r.s.offer(tx, r.offers)
}

// finish writes the end of an execution: who lists finds it, its task is over,
// who waits is woken.
func (s *Service) finish(tx *store.Tx, x *execution, was string, p progress) error {
	if err := progresses.Put(tx, x.ARN, p); err != nil {
		return err
	}
	if err := s.relist(tx, x, was, p.Status); err != nil {
		return err
	}
	tx.OnCommit(func() { s.Signals.Notify(endKey(x.ARN)) })
	if err := s.Tasks.Finish(tx, runKind, x.ARN); err != nil {
		return err
	}
	if x.Logging.Level == "" {
		if err := s.forget(tx, x, &p); err != nil {
			return err
		}
	}
	return s.reap(tx, x.Machine)
}

// relist moves an execution in the list by status.
func (s *Service) relist(tx *store.Tx, x *execution, from, to string) error {
	if err := listing.Delete(tx, listingKey(x.Machine, from, x.Start, x.Name)); err != nil {
		return err
	}
	return listing.Put(tx, listingKey(x.Machine, to, x.Start, x.Name), x.ARN)
}

// The keys of signals.
func wakeKey(arn string) string { return "sfn.wake\x00" + arn }
func endKey(arn string) string  { return "sfn.end\x00" + arn }
