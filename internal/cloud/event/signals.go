package event

import "sync"

// Signals wake whoever waits inside this process for something new under a
// key: a queue's or a stream's ARN. They carry nothing and survive nothing:
// who is woken looks into the store.
type Signals struct {
	mu   sync.Mutex
	subs map[string]map[chan struct{}]struct{}
}

// Notify wakes all subscribers of key. It never blocks; signals that come
// before the last was taken are one.
func (s *Signals) Notify(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.subs[key] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Subscribe returns a channel that receives after each Notify of key, until
// cancel is called. Subscribe first, then look: nothing is missed that way.
func (s *Signals) Subscribe(key string) (c <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs == nil {
		s.subs = map[string]map[chan struct{}]struct{}{}
	}
	if s.subs[key] == nil {
		s.subs[key] = map[chan struct{}]struct{}{}
	}
	s.subs[key][ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs[key], ch)
		if len(s.subs[key]) == 0 {
			delete(s.subs, key)
		}
	}
}
