package verify

import "miniforge/internal/check"

func (r *Run) wiring() []check.Check { return nil }

func (r *Run) hops() []check.Check { return nil }
