package verify

import (
	"slices"

	"miniforge/internal/check"
)

// security is the suite of who may do what, and of what nobody can read. What
// is claimed of enforcement goes by a canary: where the endpoint lets through
// what it must refuse, such a claim is not proven, whatever the calls say.
func (r *Run) security() check.Suite {
	checks := slices.Concat(
		[]check.Check{{ID: "enforcement.canary", Title: "The endpoint refuses who is nobody, and who may do nothing", Run: r.claimCanary}},
		r.atRest(), r.protection(), r.badCredentials(), r.roleMatrix(), r.functionRoles(), r.deputies(), r.policyChecks())
	return check.Suite{Name: "security", Title: "Nobody gets in where they do not belong", Checks: checks}
}
