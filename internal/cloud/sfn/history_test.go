package sfn

import (
	"testing"
)

// Events keep the name of the Map, though the thread is in its next state when
// they are written.
func TestIterationsNameTheirMap(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		arn := r.start(states(`"A":{"Type":"Map","ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Pass","End":true}}},"Next":"B"},"B":{"Type":"Succeed"}`), `[1,2]`)
		r.end(arn)
		seen := 0
		for _, e := range r.events(arn) {
			if d := e.MapIterationSucceededEventDetails; d != nil {
				seen++
				if *d.Name != "A" {
					t.Errorf("event %d is of %s", e.Id, *d.Name)
				}
			}
		}
		if seen != 2 {
			t.Errorf("%d iterations", seen)
		}
	})
}
