package sfn

import (
	"context"
	"errors"
	"strings"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// allowLog arranges that log delivery may write to a machine's log group. It
// is the machine's role that must be allowed to.
func (s *Service) allowLog(ctx context.Context, arn, role string, l logging) error {
	if l.Group == "" {
		return nil
	}
	as, err := wire.AssumeRole(ctx, s.Caller, "states", arn, role, "logging", strings.Split(arn, ":")[3])
	if err != nil {
		return err
	}
	err = s.Delivery.Allow(ctx, s.Caller, as, l.Group)
	if _, denied := errors.AsType[*authz.DeniedError](err); denied {
		return wire.Errorf("AccessDeniedException", "The state machine IAM Role is not authorized to access the Log Destination")
	}
	return err
}

// allowLogOf does so for a machine that exists, and may get another role.
func (s *Service) allowLogOf(ctx context.Context, arn string, role *string, l logging) error {
	if role == nil {
		var m machine
		if err := s.DB.View(func(tx *store.Tx) (err error) {
			m, err = s.usable(tx, arn)
			return err
		}); err != nil {
			return err
		}
		role = &m.Role
	}
	return s.allowLog(ctx, arn, *role, l)
}
