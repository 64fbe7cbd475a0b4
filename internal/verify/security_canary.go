package verify

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"miniforge/internal/check"
	"miniforge/internal/resource"
)

// A canary is what the endpoint did with calls that it must refuse.
type canary struct {
	unsigned  string // the code of the refusal; "" if it served the call
	powerless string // likewise
	assumes   error  // why no role can be assumed
}

// sing finds out whether the endpoint enforces anything.
func (r *Run) sing(ctx context.Context) (c canary, err error) {
	in := &dynamodb.ListTablesInput{Limit: aws.Int32(1)}
	cfg := r.guests.config()
	cfg.HTTPClient = stripped{cfg.HTTPClient}
	if _, err = dynamodb.NewFromConfig(cfg, once1).ListTables(ctx, in); err != nil {
		if c.unsigned = code(err); c.unsigned == "" {
			return c, fmt.Errorf("call without a signature: %w", err)
		}
	}
	nothing := resource.Policy{{Effect: "Deny", Action: []string{"*"}, Resource: []string{"*"}}}
	if cfg, err = r.guests.assume(ctx, "may do nothing", map[string]string{"nothing": nothing.String()}); err != nil {
		if code(err) == "" {
			return c, err
		}
		c.assumes = err
		return c, nil
	}
	if _, err = dynamodb.NewFromConfig(cfg, once1).ListTables(ctx, in); err != nil {
		if c.powerless = code(err); c.powerless == "" {
			return c, fmt.Errorf("call as a role that may do nothing: %w", err)
		}
	}
	return c, nil
}

// once1 keeps a client from repeating what must be refused.
func once1(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// authenticates returns ErrNotProven if anybody may call without proof of who
// it is.
func (c canary) authenticates() error {
	if c.unsigned == "" {
		return fmt.Errorf("%w: the endpoint serves requests without a signature", check.ErrNotProven)
	}
	return nil
}

// authorises returns ErrNotProven if roles may do what they are denied.
func (c canary) authorises() error {
	switch {
	case c.assumes != nil:
		return fmt.Errorf("%w: no role can be assumed here: %v", check.ErrNotProven, c.assumes) //nolint:errorlint // a reason, not a cause
	case c.powerless == "":
		return fmt.Errorf("%w: the endpoint serves a role that is denied everything", check.ErrNotProven)
	}
	return c.authenticates()
}

// claimCanary is the check that all others of the suite go by.
func (r *Run) claimCanary(ctx context.Context, t *check.T) error {
	c, err := r.canary(ctx)
	if err != nil {
		return err
	}
	if err := c.authorises(); err != nil {
		return err
	}
	t.Claim("a call without a signature", "refused", "refused: "+c.unsigned, true)
	t.Claim("a call of a role that is denied everything", "AccessDenied", c.powerless, deniedBy(c.powerless))
	return nil
}

// needs makes a check one that is asked only of an endpoint that enforces.
func (r *Run) needs(enforces func(canary) error, c check.Check) check.Check {
	f := c.Run
	c.Run = func(ctx context.Context, t *check.T) error {
		seen, err := r.canary(ctx)
		if err != nil {
			return err
		}
		if err := enforces(seen); err != nil {
			return err
		}
		return f(ctx, t)
	}
	return c
}
