package verify

import "miniforge/internal/check"

// security is the suite of who may do what, and of what nobody can read.
func (r *Run) security() check.Suite {
	return check.Suite{Name: "security", Title: "Nobody gets in where they do not belong", Checks: r.policyChecks()}
}
