package fault

import (
	"encoding/json"
	"fmt"
	"time"
)

// A snapshot is an engine on its way through the death of its process.
type snapshot struct {
	Seed  uint64       `json:"seed"`
	Rules []saved      `json:"rules"`
	Past  map[Kind]int `json:"past"`
}

type saved struct {
	Rule
	Since    time.Time `json:"since"`
	Asked    int       `json:"asked"`
	Injected int       `json:"injected"`
	Seed     uint64    `json:"rule_seed"`
}

// kill does not return where the cloud can be killed. Until the process is gone
// nobody else reaches the rules: a schedule that was cleared in between would
// come back with the next process.
func (e *Engine) kill() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.o.Kill(e.save())
}

func (e *Engine) save() []byte {
	s := snapshot{Seed: e.seed, Past: e.past}
	for _, r := range e.rules {
		s.Rules = append(s.Rules, saved{r.Rule, r.Since, r.Asked, r.Injected, r.seed})
	}
	b, _ := json.Marshal(s) // plain data
	return b
}

// Resume goes on with the schedule that an earlier process was killed by.
func (e *Engine) Resume(state []byte) error {
	var s snapshot
	if err := json.Unmarshal(state, &s); err != nil {
		return fmt.Errorf("resume fault schedule: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seed = s.Seed
	for k, n := range s.Past {
		e.past[k] += n
	}
	for _, r := range s.Rules {
		e.rules = append(e.rules, &active{Rule: r.Rule, Since: r.Since, Asked: r.Asked, Injected: r.Injected, seed: r.Seed})
	}
	e.idle.Store(len(e.rules) == 0)
	return nil
}
