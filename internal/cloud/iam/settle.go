package iam

import (
	"slices"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/store"
)

// Requests are judged by what is in effect: what a user or role was before its
// last changes, until they have spread. IAM's own answers, and its simulator,
// know at once, and sessions of a user or role that is deleted end at once.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency

// spread has a user or role judged as what it was before tx, for a while after
// it; nil is one that tx makes.
func (s *Service) spread(tx *store.Tx, arn string, was *identity) {
	if d := s.Settle.Of(latency.Identity); d > 0 {
		tx.OnCommit(func() { s.past.Changed(arn, was, d) })
	}
}

// spreadPolicy does the same for all who have a managed policy.
func (s *Service) spreadPolicy(tx *store.Tx, policy string) error {
	if s.Settle == nil {
		return nil
	}
	for _, k := range []*kind{roleKind, userKind} {
		for r, err := range k.table.Range(tx, "", "") {
			if err != nil {
				return err
			}
			if e := r.Value; e.Boundary == policy || slices.Contains(e.Attached, policy) {
				if err := s.spreadFrom(tx, k, e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// spreadFrom is spread for a user or role as it is in the store.
func (s *Service) spreadFrom(tx *store.Tx, k *kind, e entity) error {
	if s.Settle == nil {
		return nil
	}
	arn := s.arn(k, &e)
	was, err := load(tx, k, e, arn)
	if err == nil {
		s.spread(tx, arn, was)
	}
	return err
}

// inEffect returns what a user or role is judged by; nil if there is none, or
// if it has not spread that there is.
func (s *Service) inEffect(arn string) (*identity, error) {
	if was, late := s.past.Before(arn); late {
		return was, nil
	}
	return s.byARN(arn)
}

// judged is what a principal is judged by, nil for one that is gone.
func (s *Service) judged(p authz.Principal) (*identity, error) {
	i, err := s.inEffect(identityARN(p))
	return theSame(i, p), err
}
