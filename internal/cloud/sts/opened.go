package sts

import (
	"sync"
	"time"
)

// maxOpened bounds the opened tokens that are kept; a stack's functions have
// a few dozen sessions.
const maxOpened = 1024

// opened keeps what tokens carry: a session signs many requests, and each
// brings its token. The zero value is ready.
type opened struct {
	mu     sync.RWMutex
	tokens map[string]*token // by the sealed text
}

// get returns what a sealed token carries, nil if it has not been opened. It
// may have expired.
func (o *opened) get(sealed string) *token {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.tokens[sealed]
}

// keep has a token known the next time, and forgets those that have expired.
func (o *opened) keep(sealed string, t *token, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for text, t := range o.tokens {
		if !now.Before(t.Expires) {
			delete(o.tokens, text)
		}
	}
	if o.tokens == nil || len(o.tokens) >= maxOpened {
		o.tokens = map[string]*token{}
	}
	o.tokens[sealed] = t
}
