package cloud

import (
	"context"
	"strings"
	"time"

	"miniforge/internal/cloud/apigw"
	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/codebuild"
	"miniforge/internal/cloud/codecommit"
	"miniforge/internal/cloud/codedeploy"
	"miniforge/internal/cloud/codepipeline"
	"miniforge/internal/cloud/dynamodb"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/events"
	"miniforge/internal/cloud/iam"
	"miniforge/internal/cloud/kms"
	"miniforge/internal/cloud/lambda"
	"miniforge/internal/cloud/lambda/sandbox"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/logs"
	"miniforge/internal/cloud/s3"
	"miniforge/internal/cloud/sfn"
	"miniforge/internal/cloud/sns"
	"miniforge/internal/cloud/sqs"
	"miniforge/internal/cloud/sts"
	"miniforge/internal/cloud/tagging"
	"miniforge/internal/cloud/vended"
	"miniforge/internal/cloud/wire"
)

// compose makes the services, wires them and starts their background work.
// Services know each other only through the caller: this is the one place
// where they meet.
func (c *Cloud) compose(master []byte) error {
	c.mux = wire.NewMux(wire.Options{Account: c.Account, Log: c.log, Authenticate: c.authenticate})
	q := event.NewQueue(c.db, c.log)
	if err := c.makeFaults(q); err != nil {
		return err
	}
	signals := &event.Signals{}
	db, log, account := c.db, c.log, c.Account
	var settle latency.Settle
	if c.opts.Latency != nil {
		settle = c.opts.Latency.Settle
	}

	c.iam = iam.New(iam.Options{DB: db, Log: log, Account: account, Settle: settle})
	c.sts = sts.New(sts.Options{Account: account, Master: master, Role: c.iam.Role, PolicyDocument: c.iam.PolicyDocument})
	keys := kms.New(kms.Options{DB: db, Tasks: q, Log: log, Account: account, Master: master, PrincipalExists: c.iam.PrincipalExists})
	logGroups := logs.New(logs.Options{DB: db, Tasks: q, Caller: c.mux, Log: log, Account: account})
	buckets := s3.New(s3.Options{DB: db, Caller: c.mux, Log: log, Account: account})
	tables := dynamodb.New(dynamodb.Options{DB: db, Tasks: q, Caller: c.mux, Signals: signals, Log: log, Account: account, Settle: settle})
	queues := sqs.New(sqs.Options{DB: db, Tasks: q, Caller: c.mux, Signals: signals, Log: log, Account: account})
	topics := sns.New(sns.Options{DB: db, Tasks: q, Caller: c.mux, Log: log, Account: account})
	buses := events.New(events.Options{DB: db, Tasks: q, Caller: c.mux, Log: log, Account: account})
	c.functions = lambda.New(lambda.Options{DB: db, Tasks: q, Caller: c.mux, Signals: signals, Log: log, Account: account, Dir: c.dir("functions"), Endpoint: c.Endpoint, Launcher: slowLauncher{faultyLauncher{sandbox.NewProcesses(log), c.faults}, c.opts.Latency}, Settle: settle})
	delivery := vended.NewDelivery()
	machines := sfn.New(sfn.Options{DB: db, Tasks: q, Caller: c.mux, Signals: signals, Log: log, Account: account, Delivery: delivery})
	c.apis = apigw.New(apigw.Options{DB: db, Caller: c.mux, Log: log, Account: account, Delivery: delivery, Overloaded: func() bool { return machines.Busy() >= maxBusy }})

	c.repositories = codecommit.New(codecommit.Options{DB: db, Tasks: q, Caller: c.mux, Signals: signals, Log: log, Account: account, Credential: c.authenticate, Authorize: c.Judge})
	builds := codebuild.New(codebuild.Options{DB: db, Tasks: q, Caller: c.mux, Signals: signals, Log: log, Account: account, Dir: c.dir("builds"), Endpoint: c.Endpoint, Archive: c.repositories.Archive})
	deployments := codedeploy.New(codedeploy.Options{DB: db, Tasks: q, Caller: c.mux, Signals: signals, Log: log, Account: account})
	pipelines := codepipeline.New(codepipeline.Options{DB: db, Tasks: q, Caller: c.mux, Signals: signals, Log: log, Account: account, Archive: c.repositories.Archive})

	tagged := map[string]tagging.Source{
		"apigateway": c.apis, "codebuild": builds, "codecommit": c.repositories, "codedeploy": deployments, "codepipeline": pipelines,
		"dynamodb": tables, "events": buses, "kms": keys, "lambda": c.functions, "logs": logGroups, "s3": buckets, "sns": topics, "sqs": queues, "states": machines,
	}
	for _, r := range []registrar{c.iam, c.sts, keys, logGroups, buckets, tables, queues, topics, buses, c.functions, machines, c.apis, c.repositories, builds, deployments, pipelines, tagging.New(tagged)} {
		r.Register(c.mux, q)
	}
	for _, kind := range c.opts.Latency.Hops() {
		q.Delay(kind, func() time.Duration { return c.opts.Latency.Hop(kind) })
	}
	policies := map[string]policyTable{
		"lambda": {c.functions, lambda.PolicyTable}, "logs": {logGroups, logs.PolicyTable}, "s3": {buckets, s3.PolicyTable}, "sns": {topics, sns.PolicyTable},
		"sqs": {queues, sqs.PolicyTable}, "events": {buses, events.PolicyTable}, "kms": {keys, ""},
	}
	c.judge = &authz.Engine{
		Account: account, Identity: c.iam.IdentityPolicies, PrincipalTags: c.iam.PrincipalTags, Grants: keys.Granted,
		Resource: func(ctx context.Context, arn string) (string, error) { return c.resourcePolicy(ctx, policies, arn) },
		ResourceTags: func(ctx context.Context, arn string) (map[string]string, error) {
			return resourceTags(ctx, tagged, arn)
		},
	}
	c.mux.Use(c.opts.Latency.Intercept)
	c.mux.Use(c.authorize)
	c.mux.Use(c.faults.Intercept)
	c.start(q, c.apis.Run, c.functions.Run)
	return nil
}

// maxBusy is how many tasks of executions may be under way before HTTP APIs
// take no more: far more than a machine does at a time, and little enough that
// each ends soon.
const maxBusy = 512

// A registrar is a service that adds its operations and task handlers.
type registrar interface {
	Register(m *wire.Mux, q *event.Queue)
}

// resourcePolicy is the policy of a resource; that of a role is its trust policy.
func (c *Cloud) resourcePolicy(ctx context.Context, holders map[string]policyTable, arn string) (string, error) {
	service := serviceOf(arn)
	if service == "iam" {
		return c.iam.RoleTrust(ctx, arn)
	}
	h, ok := holders[service]
	if !ok {
		return "", nil
	}
	if h.table == "" {
		return h.ResourcePolicy(ctx, arn)
	}
	return c.policies.GetAt(c.db.Version(h.table), arn, func() (string, error) { return h.ResourcePolicy(ctx, arn) })
}

// resourceTags finds the tags of one resource among those of its region.
func resourceTags(ctx context.Context, sources map[string]tagging.Source, arn string) (map[string]string, error) {
	src := sources[serviceOf(arn)]
	if src == nil {
		return nil, nil
	}
	all, err := src.Tagged(ctx, strings.Split(arn, ":")[3])
	return all[arn], err
}

// A policyHolder is a service whose resources have policies.
type policyHolder interface {
	ResourcePolicy(ctx context.Context, arn string) (document string, err error)
}

// A policyTable is a holder with the table that it reads policies from: every
// call is judged, so that they are remembered as long as it does not change.
// Without one, the holder remembers for itself.
type policyTable struct {
	policyHolder
	table string
}

// serviceOf is the service in an ARN.
func serviceOf(arn string) string {
	_, rest, _ := strings.Cut(arn, ":")
	_, rest, _ = strings.Cut(rest, ":")
	service, _, ok := strings.Cut(rest, ":")
	if !ok {
		return ""
	}
	return service
}

// alive refuses the sessions of users and roles that are gone: they end with
// what they stand for.
func (c *Cloud) alive(ctx context.Context, p authz.Principal) error {
	if p.Type == authz.Root {
		return nil
	}
	ok, err := c.iam.Exists(ctx, p)
	if err == nil && !ok {
		err = wire.ErrInvalidToken
	}
	return err
}

// authenticate finds what an access key stands for: the root user's, a user's
// or, with a session token, a temporary one.
func (c *Cloud) authenticate(ctx context.Context, id, token string) (wire.Credential, error) {
	if token != "" {
		secret, p, err := c.sts.Session(ctx, id, token)
		if err == nil {
			err = c.alive(ctx, p)
		}
		return wire.Credential{Secret: secret, Principal: p}, err
	}
	if id == c.AccessKeyID {
		return wire.Credential{Secret: c.SecretAccessKey, Principal: c.root()}, nil
	}
	secret, p, ok, err := c.iam.Key(ctx, id)
	if err == nil && !ok {
		err = wire.ErrUnknownKey
	}
	return wire.Credential{Secret: secret, Principal: p}, err
}
