package cloud

import (
	"context"
	"strings"

	"miniforge/internal/cloud/apigw"
	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/kms"
	"miniforge/internal/cloud/s3"
	"miniforge/internal/cloud/tagging"
	"miniforge/internal/cloud/wire"
)

// services are all services of a cloud.
type services struct {
	kms *kms.Service
	s3  *s3.Service
}

// A registrar is a service that adds its operations and task handlers.
type registrar interface {
	Register(m *wire.Mux, q *event.Queue)
}

// compose makes the services, wires them and starts their background work.
func (c *Cloud) compose(master []byte) error {
	c.mux = wire.NewMux(wire.Options{Account: c.Account, Log: c.log, Authenticate: c.authenticate})
	q := event.NewQueue(c.db, c.log)
	s := &c.svc
	s.kms = kms.New(kms.Options{DB: c.db, Tasks: q, Log: c.log, Account: c.Account, Master: master})
	s.s3 = s3.New(s3.Options{DB: c.db, Caller: c.mux, Log: c.log, Account: c.Account})
	c.apis = apigw.New(apigw.Options{DB: c.db, Caller: c.mux, Log: c.log, Account: c.Account})

	tagged := map[string]tagging.Source{"apigateway": c.apis, "s3": s.s3, "kms": s.kms}
	policies := map[string]policyHolder{"s3": s.s3, "kms": s.kms}
	for _, r := range []registrar{s.kms, s.s3, c.apis, tagging.New(tagged)} {
		r.Register(c.mux, q)
	}
	c.mux.Use(c.authorize(&authz.Engine{
		Account: c.Account,
		Resource: func(ctx context.Context, arn string) (string, error) {
			if h := policies[serviceOf(arn)]; h != nil {
				return h.ResourcePolicy(ctx, arn)
			}
			return "", nil
		},
	}))
	c.start(q, c.apis.Run)
	return nil
}

// A policyHolder is a service whose resources have policies.
type policyHolder interface {
	ResourcePolicy(ctx context.Context, arn string) (document string, err error)
}

// serviceOf is the service in an ARN.
func serviceOf(arn string) string {
	p := strings.SplitN(arn, ":", 4)
	if len(p) < 4 {
		return ""
	}
	return p[2]
}

// authenticate finds what an access key stands for.
func (c *Cloud) authenticate(ctx context.Context, id, token string) (wire.Credential, error) {
	if id == c.AccessKeyID && token == "" {
		return wire.Credential{Secret: c.SecretAccessKey, Principal: c.root()}, nil
	}
	return wire.Credential{}, wire.ErrUnknownKey
}

// authorize has every call judged before its service sees it.
func (c *Cloud) authorize(e *authz.Engine) wire.Interceptor {
	return func(next wire.Func) wire.Func {
		return func(ctx context.Context, call *wire.Call) (any, error) {
			common := authz.Common{Region: call.Region, SourceIP: call.SourceIP, UserAgent: call.UserAgent}
			if err := e.Authorize(ctx, call.Principal, common, call.Access); err != nil {
				return nil, err
			}
			return next(ctx, call)
		}
	}
}
