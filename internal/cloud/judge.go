package cloud

import (
	"context"
	"errors"
	"net/http"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

// A Judgement is what a caller was told about one permission.
type Judgement struct {
	Principal authz.Principal
	Region    string
	Access    authz.Access
	Err       error // nil: allowed
}

// Judge decides whether p may do something now, by all policies in force. A
// refusal is an [*authz.DeniedError].
func (c *Cloud) Judge(ctx context.Context, p authz.Principal, region string, access authz.Access) error {
	return c.judgeAll(ctx, p, authz.Common{Region: region}, []authz.Access{access})
}

func (c *Cloud) judgeAll(ctx context.Context, p authz.Principal, common authz.Common, accesses []authz.Access) error {
	if c.opts.Unguarded {
		return nil
	}
	err := c.judge.Authorize(ctx, p, common, accesses)
	if c.opts.Audit != nil {
		c.audit(p, common.Region, accesses, err)
	}
	return err
}

// audit tells of the refusal, or, where there is none, of all that was allowed.
func (c *Cloud) audit(p authz.Principal, region string, accesses []authz.Access, err error) {
	denied, ok := errors.AsType[*authz.DeniedError](err)
	if err != nil && !ok {
		return // it could not be judged
	}
	for _, a := range accesses {
		if err == nil || a.Action == denied.Action && a.Resource == denied.Resource {
			c.opts.Audit(Judgement{Principal: p, Region: region, Access: a, Err: err})
		}
	}
}

// authorize has every call judged before its service sees it.
func (c *Cloud) authorize(next wire.Func) wire.Func {
	return func(ctx context.Context, call *wire.Call) (any, error) {
		if err := withinSession(call); err != nil {
			return nil, err
		}
		common := authz.Common{Region: call.Region, SourceIP: call.SourceIP, UserAgent: call.UserAgent}
		if err := c.judgeAll(ctx, call.Principal, common, call.Access); err != nil {
			return nil, err
		}
		return next(ctx, call)
	}
}

// withinSession refuses what temporary credentials of a user cannot do,
// whatever the policies say: those of GetSessionToken without MFA, which nobody
// has here, are not taken by IAM, nor by STS but for two operations.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
func withinSession(call *wire.Call) error {
	p := &call.Principal
	if p.Type != authz.User && p.Type != authz.Root || p.Issued.IsZero() {
		return nil
	}
	switch {
	case call.Service == "iam":
		return &wire.Error{Status: http.StatusForbidden, Code: "InvalidClientTokenId", Message: "The security token included in the request is invalid"}
	case call.Service == "sts" && call.Op != "AssumeRole" && call.Op != "GetCallerIdentity":
		return wire.Errorf("AccessDenied", "Cannot call %s with session credentials", call.Op)
	}
	return nil
}
