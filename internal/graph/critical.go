package graph

import "time"

// A CriticalPath is the chain of steps that a walk could not be faster than,
// each needing the one before it.
type CriticalPath struct {
	Took time.Duration `json:"took_ns"` // all of its steps together
	IDs  []string      `json:"ids"`
}

// CriticalPath finds it among the steps of Ensure: the chain of resources that
// took the longest.
func (g *Graph) CriticalPath(steps []Step) CriticalPath {
	took, before := make([]time.Duration, len(steps)), make([]int, len(steps))
	last := -1
	for i, s := range steps { // what a step needs comes before it
		before[i] = -1
		for _, j := range g.needs[i] {
			if before[i] < 0 || took[j] > took[before[i]] {
				before[i] = j
			}
		}
		if took[i] = s.Took; before[i] >= 0 {
			took[i] += took[before[i]]
		}
		if last < 0 || took[i] > took[last] {
			last = i
		}
	}
	if last < 0 {
		return CriticalPath{}
	}
	p := CriticalPath{Took: took[last]}
	for i := last; i >= 0; i = before[i] {
		p.IDs = append([]string{steps[i].ID}, p.IDs...)
	}
	return p
}
