package sfn

import (
	"sync"

	"miniforge/internal/cloud/store"
)

// maxFresh bounds the events that are remembered.
const maxFresh = 50_000

// fresh remembers the events of running executions until they are brought to
// their log, which is soon: the store has them too, but reading them there is
// most of what a delivery costs.
type fresh struct {
	mu     sync.Mutex
	events map[string][]*record // by execution, in order
	tasks  map[string]bool      // executions of which a task will take the events
	count  int
}

// remember keeps events for the log once they are committed: of executions that
// log all, as then a delivery follows that takes them.
func (s *Service) remember(tx *store.Tx, x *execution, events []*record) {
	if x.Logging.Level == "ALL" {
		tx.OnCommit(func() { s.fresh.add(x.ARN, events) })
	}
}

// add remembers committed events.
func (f *fresh) add(arn string, events []*record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.events == nil {
		f.events, f.tasks = map[string][]*record{}, map[string]bool{}
	}
	if f.count+len(events) > maxFresh {
		f.drop(arn) // a gap is worse than nothing
		return
	}
	f.events[arn] = append(f.events[arn], events...)
	f.count += len(events)
}

// await notes that a task is to take an execution's events, if there are any.
func (f *fresh) await(arn string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.events[arn]) > 0 {
		f.tasks[arn] = true
	}
}

// awaited tells whether a task is to take an execution's events, and has not yet.
func (f *fresh) awaited(arn string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tasks[arn]
}

// take forgets an execution's events and returns them if they are all those
// with the given ids, and no more than a batch.
func (f *fresh) take(arn string, from, to int64) []*record {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events[arn]
	f.drop(arn)
	for len(events) > 0 && events[0].ID < from {
		events = events[1:] // delivered already, by a task that was repeated
	}
	if len(events) == 0 || events[0].ID != from || events[len(events)-1].ID != to || len(events) >= logBatch {
		return nil
	}
	return events
}

func (f *fresh) drop(arn string) {
	f.count -= len(f.events[arn])
	delete(f.events, arn)
	delete(f.tasks, arn)
}
