package lambda

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// settings are the constraints of members that creating and configuring share.
var settings = []string{
	"Handler 0..128 [^\\s]+", "Description 0..256", "Timeout 1..900", "MemorySize 128..10240", "KMSKeyArn" + arnRule,
	"DeadLetterConfig.TargetArn" + arnRule, "TracingConfig.Mode Active|PassThrough", "EphemeralStorage.Size! 512..10240",
	"LoggingConfig.LogFormat JSON|Text", "LoggingConfig.ApplicationLogLevel TRACE|DEBUG|INFO|WARN|ERROR|FATAL", "LoggingConfig.SystemLogLevel DEBUG|INFO|WARN",
	"LoggingConfig.LogGroup 1..512 [\\.\\-_/#A-Za-z0-9]+", "SnapStart.ApplyOn PublishedVersions|None",
}

const roleRule = " arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+"

func (s *Service) registerFunctions(api *wire.API) {
	wire.Bind(api, "POST /2015-03-31/functions", s.CreateFunction, wire.Status(201),
		wire.Members(append([]string{nameRule, "Role!" + roleRule, "Code!", "Code.S3Bucket 3..63", "Code.S3Key 1..1024", "Architectures 1..1", "Architectures[] x86_64|arm64", "PackageType Zip|Image"}, settings...)...),
		wire.Needs(func(c *wire.Call, in *sdk.CreateFunctionInput) []authz.Access {
			_, fn, _ := split(aws.ToString(in.FunctionName))
			return append([]authz.Access{{Action: "lambda:CreateFunction", Resource: c.ARN("lambda", "function:"+fn)}}, passRole(in.Role)...)
		}))
	wire.Bind(api, "PUT /2015-03-31/functions/{FunctionName}/code", s.UpdateFunctionCode,
		wire.Members(nameRule, "S3Bucket 3..63", "S3Key 1..1024", "Architectures 1..1", "Architectures[] x86_64|arm64"),
		on(func(in *sdk.UpdateFunctionCodeInput) (f, q *string) { return in.FunctionName, nil }))
	wire.Bind(api, "PUT /2015-03-31/functions/{FunctionName}/configuration", s.UpdateFunctionConfiguration,
		wire.Members(append([]string{nameRule, "Role" + roleRule}, settings...)...),
		wire.Needs(func(c *wire.Call, in *sdk.UpdateFunctionConfigurationInput) []authz.Access {
			_, fn, _ := split(aws.ToString(in.FunctionName))
			return append([]authz.Access{{Action: "lambda:UpdateFunctionConfiguration", Resource: c.ARN("lambda", "function:"+fn)}}, passRole(in.Role)...)
		}))
	wire.Bind(api, "GET /2015-03-31/functions/{FunctionName}", s.GetFunction, wire.Members(nameRule, qualifierRule), wire.QueryParam("Qualifier", "Qualifier"),
		on(func(in *sdk.GetFunctionInput) (f, q *string) { return in.FunctionName, in.Qualifier }))
	wire.Bind(api, "GET /2015-03-31/functions/{FunctionName}/configuration", s.GetFunctionConfiguration, wire.Members(nameRule, qualifierRule), wire.QueryParam("Qualifier", "Qualifier"),
		on(func(in *sdk.GetFunctionConfigurationInput) (f, q *string) { return in.FunctionName, in.Qualifier }))
	wire.Bind(api, "DELETE /2015-03-31/functions/{FunctionName}", s.DeleteFunction, wire.Status(204), wire.StatusFrom("StatusCode"),
		wire.Members(nameRule, qualifierRule), wire.QueryParam("Qualifier", "Qualifier"),
		on(func(in *sdk.DeleteFunctionInput) (f, q *string) { return in.FunctionName, in.Qualifier }))
	wire.Bind(api, "GET /2015-03-31/functions", s.ListFunctions,
		wire.Members("FunctionVersion ALL", "MaxItems 1..10000"), wire.QueryParam("FunctionVersion", "FunctionVersion"), wire.QueryParam("Marker", "Marker"),
		wire.QueryParam("MaxItems", "MaxItems"), wire.QueryParam("MasterRegion", "MasterRegion"))
	s.registerConcurrency(api)
}

// passRole is the access that giving a role to Lambda needs.
func passRole(role *string) []authz.Access {
	if role == nil {
		return nil
	}
	return []authz.Access{{Action: "iam:PassRole", Resource: *role, Context: map[string][]string{"iam:PassedToService": {"lambda.amazonaws.com"}}}}
}

// CreateFunction makes a function of a package.
func (s *Service) CreateFunction(ctx context.Context, in *sdk.CreateFunctionInput) (*sdk.CreateFunctionOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	if n.qualifier != "" {
		return nil, badValue("The function name must not have a qualifier.")
	}
	if err := s.DB.View(func(tx *store.Tx) error { return vacant(tx, n) }); err != nil {
		return nil, err
	}
	v := versionRow{Config: newConfig(n, in)}
	if err := checkNew(in); err != nil {
		return nil, err
	}
	if err := s.configure(ctx, n, &v, asConfiguration(in)); err != nil {
		return nil, err
	}
	pkg, err := s.fetch(ctx, source{in.Code.ZipFile, in.Code.S3Bucket, in.Code.S3Key, in.Code.S3ObjectVersion})
	if err != nil {
		return nil, err
	}
	s.code.use.RLock()
	defer s.code.use.RUnlock()
	if err := s.setCode(&v, pkg); err != nil {
		return nil, err
	}
	published := v
	err = s.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if err := vacant(tx, n); err != nil {
			return err
		}
		s.touch(&v, false)
		published = v
		if err := functions.Put(tx, n.key(), functionRow{Name: n.function, Region: n.region, Tags: in.Tags}); err != nil {
			return err
		}
		if err := versions.Put(tx, versionKey(n, 0), v); err != nil {
			return err
		}
		if in.Publish {
			published, err = s.publish(tx, n, &v, nil)
		}
		s.changed(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	c := published.Config
	published.pend(&c)
	c.Environment = shown(in.Environment)
	return as[sdk.CreateFunctionOutput](c), nil
}

func vacant(tx *store.Tx, n name) error {
	_, taken, err := functions.Get(tx, n.key())
	if err == nil && taken {
		err = conflict("Function already exist: " + n.function)
	}
	return err
}

// setCode keeps a package and has the version use it.
func (s *Service) setCode(v *versionRow, pkg []byte) (err error) {
	if v.Code, err = s.code.put(pkg); err != nil {
		return err
	}
	v.Config.CodeSha256, v.Config.CodeSize = new(codeSha256(v.Code)), int64(len(pkg))
	return nil
}

// touch gives a version a new revision and the time at which it is ready.
func (s *Service) touch(v *versionRow, updating bool) {
	now, change := time.Now(), latency.FunctionCreated
	if updating {
		change = latency.FunctionUpdated
	}
	v.Config.RevisionId, v.Config.LastModified = new(uuid.NewString()), stamp(now)
	v.Ready, v.Updating = now.Add(s.Settle.Of(change)), updating
}

// changedLatest ends the idle processes of $LATEST as it was.
func (s *Service) changedLatest(tx *store.Tx, n name) {
	s.changed(tx)
	tx.OnCommit(func() { s.pool.retire(n.key() + "/" + latest + "/") })
}

// settled refuses a change while another one is under way.
func (v *versionRow) settled(n name) error {
	if !time.Now().Before(v.Ready) {
		return nil
	}
	if v.Updating {
		return conflict("The operation cannot be performed at this time. An update is in progress for resource: " + n.arn())
	}
	return conflict("The operation cannot be performed at this time. The function is currently in the following state: Pending")
}

// latestOf reads $LATEST for a change, which a qualifier other than $LATEST
// and a wrong revision refuse.
func latestOf(tx *store.Tx, n name, revision *string) (versionRow, error) {
	if n.qualifier != "" && n.qualifier != latest {
		return versionRow{}, badValue("This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.")
	}
	v, ok, err := findVersion(tx, n, latest)
	switch {
	case err != nil:
		return v, err
	case !ok:
		return v, noFunction(n.arn())
	case revision != nil && *revision != *v.Config.RevisionId:
		return v, stale()
	}
	return v, v.settled(n)
}

// UpdateFunctionCode changes the package of $LATEST.
func (s *Service) UpdateFunctionCode(ctx context.Context, in *sdk.UpdateFunctionCodeInput) (*sdk.UpdateFunctionCodeOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	if in.ImageUri != nil {
		return nil, badValue("Please don't provide ImageUri when updating a function with packageType Zip.")
	}
	if err := s.DB.View(func(tx *store.Tx) error { _, err := latestOf(tx, n, in.RevisionId); return err }); err != nil {
		return nil, err
	}
	pkg, err := s.fetch(ctx, source{in.ZipFile, in.S3Bucket, in.S3Key, in.S3ObjectVersion})
	if err != nil {
		return nil, err
	}
	s.code.use.RLock()
	defer s.code.use.RUnlock()
	var code, out versionRow
	if err := s.setCode(&code, pkg); err != nil {
		return nil, err
	}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		v, err := latestOf(tx, n, in.RevisionId)
		if err != nil {
			return err
		}
		v.Code, v.Config.CodeSha256, v.Config.CodeSize = code.Code, code.Config.CodeSha256, code.Config.CodeSize
		if in.Architectures != nil {
			v.Config.Architectures = in.Architectures
		}
		if out = v; in.DryRun {
			return nil
		}
		s.touch(&v, true)
		if out = v; in.Publish {
			if out, err = s.publish(tx, n, &v, nil); err != nil {
				return err
			}
		}
		s.changedLatest(tx, n)
		return versions.Put(tx, versionKey(n, 0), v)
	})
	if err != nil {
		return nil, err
	}
	c := out.Config
	if !in.DryRun {
		(&versionRow{Updating: true}).pend(&c)
	}
	c.Environment = s.reveal(ctx, n, &out)
	return as[sdk.UpdateFunctionCodeOutput](c), nil
}

// UpdateFunctionConfiguration changes the configuration of $LATEST.
func (s *Service) UpdateFunctionConfiguration(ctx context.Context, in *sdk.UpdateFunctionConfigurationInput) (*sdk.UpdateFunctionConfigurationOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	var v versionRow
	if err := s.DB.View(func(tx *store.Tx) error { v, err = latestOf(tx, n, in.RevisionId); return err }); err != nil {
		return nil, err
	}
	was := *v.Config.RevisionId
	if err := s.configure(ctx, n, &v, in); err != nil {
		return nil, err
	}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		now, err := latestOf(tx, n, in.RevisionId)
		if err != nil {
			return err
		}
		if *now.Config.RevisionId != was {
			return conflict("The operation cannot be performed at this time. An update is in progress for resource: " + n.arn())
		}
		s.touch(&v, true)
		s.changedLatest(tx, n)
		return versions.Put(tx, versionKey(n, 0), v)
	})
	if err != nil {
		return nil, err
	}
	c := v.Config
	(&versionRow{Updating: true}).pend(&c)
	c.Environment = s.reveal(ctx, n, &v)
	return as[sdk.UpdateFunctionConfigurationOutput](c), nil
}

// GetFunctionConfiguration tells a version's configuration.
func (s *Service) GetFunctionConfiguration(ctx context.Context, in *sdk.GetFunctionConfigurationInput) (*sdk.GetFunctionConfigurationOutput, error) {
	n, v, err := s.read(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return as[sdk.GetFunctionConfigurationOutput](s.tell(ctx, n, &v)), nil
}

func (s *Service) read(ctx context.Context, function, qualifier *string) (n name, v versionRow, err error) {
	if n, err = lookup(ctx, function, qualifier); err != nil {
		return n, v, err
	}
	err = s.DB.View(func(tx *store.Tx) (err error) { v, err = findQualified(tx, n); return err })
	return n, v, err
}

// tell is a version's configuration as the caller may see it. A version that
// is reached by a qualifier names itself with it.
func (s *Service) tell(ctx context.Context, n name, v *versionRow) types.FunctionConfiguration {
	c := v.describe(time.Now())
	c.Environment = s.reveal(ctx, n, v)
	if n.qualifier != "" {
		c.FunctionArn = new(n.full())
	}
	return c
}

// GetFunction tells a version's configuration, tags, and where its code is.
func (s *Service) GetFunction(ctx context.Context, in *sdk.GetFunctionInput) (*sdk.GetFunctionOutput, error) {
	n, v, err := s.read(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	var f functionRow
	if err := s.DB.View(func(tx *store.Tx) (err error) { f, err = mustExist(tx, n); return err }); err != nil {
		return nil, err
	}
	out := &sdk.GetFunctionOutput{
		Configuration: new(s.tell(ctx, n, &v)), Tags: f.Tags,
		Code: &types.FunctionCodeLocation{RepositoryType: new("S3"), Location: new(s.location(wire.CallOf(ctx).Endpoint, v.Code))},
	}
	if f.Reserved != nil {
		out.Concurrency = &types.Concurrency{ReservedConcurrentExecutions: f.Reserved}
	}
	return out, nil
}
