package resource

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/graph"
)

// functionAPI is what a Function asks of Lambda.
type functionAPI interface {
	GetFunction(context.Context, *lambda.GetFunctionInput, ...func(*lambda.Options)) (*lambda.GetFunctionOutput, error)
	GetFunctionConfiguration(context.Context, *lambda.GetFunctionConfigurationInput, ...func(*lambda.Options)) (*lambda.GetFunctionConfigurationOutput, error)
	CreateFunction(context.Context, *lambda.CreateFunctionInput, ...func(*lambda.Options)) (*lambda.CreateFunctionOutput, error)
	UpdateFunctionConfiguration(context.Context, *lambda.UpdateFunctionConfigurationInput, ...func(*lambda.Options)) (*lambda.UpdateFunctionConfigurationOutput, error)
	UpdateFunctionCode(context.Context, *lambda.UpdateFunctionCodeInput, ...func(*lambda.Options)) (*lambda.UpdateFunctionCodeOutput, error)
	DeleteFunction(context.Context, *lambda.DeleteFunctionInput, ...func(*lambda.Options)) (*lambda.DeleteFunctionOutput, error)
}

var _ functionAPI = (*lambda.Client)(nil)

// Runtime and Handler are those of a Go function: a native binary that is
// called bootstrap and lies at the root of the zip archive.
const (
	Runtime = types.RuntimeProvidedal2023
	Handler = "bootstrap"
)

// A Function is a Lambda function; its callers go through an Alias.
type Function struct {
	Lambda       functionAPI
	Owner        Owner
	Name         string
	ARN          string // unqualified
	Role         *Role
	LogGroup     *LogGroup
	Architecture types.Architecture
	Timeout      time.Duration
	Memory       int32 // MiB
	Environment  map[string]string
	// Zip is the deployment package. Without it the code that is deployed is
	// taken as it is, and the function cannot be created.
	Zip []byte
}

func (f *Function) ID() string              { return "lambda/" + f.Name }
func (f *Function) Needs() []graph.Resource { return []graph.Resource{f.Role, f.LogGroup} }

// CodeSha256 is the hash by which Lambda knows a package: base64 of SHA-256.
func CodeSha256(zip []byte) string {
	sum := sha256.Sum256(zip)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (f *Function) Observe(ctx context.Context) (graph.Observation, error) {
	out, err := f.Lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &f.Name})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read function", f.Name, err)
	}
	c := out.Configuration
	return graph.Observation{Exists: true, Owned: f.Owner.owns(out.Tags), Drift: f.compare(version{
		role: deref(c.Role), runtime: c.Runtime, handler: deref(c.Handler), timeout: deref(c.Timeout), memory: deref(c.MemorySize),
		architectures: c.Architectures, environment: c.Environment, sha: deref(c.CodeSha256),
	})}, nil
}

// A version is what a Function declares, read from $LATEST or from a published
// version, of which the SDK has two types.
type version struct {
	role, handler, sha string
	runtime            types.Runtime
	timeout, memory    int32
	architectures      []types.Architecture
	environment        *types.EnvironmentResponse
}

func (f *Function) compare(got version) (d drift) {
	d.add("Role", f.Role.ARN, got.role)
	d.add("Runtime", string(Runtime), string(got.runtime))
	d.add("Handler", Handler, got.handler)
	d.int("Timeout", int64(f.Timeout/time.Second), int64(got.timeout))
	d.int("MemorySize", int64(f.Memory), int64(got.memory))
	var env map[string]string
	if got.environment != nil {
		env = got.environment.Variables
	}
	d.maps("Environment.", f.Environment, env)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if _, declared := f.Environment[name]; !declared {
			d.add("Environment."+name, "", cmp.Or(env[name], "(empty)"))
		}
	}
	arch := types.ArchitectureX8664 // where an endpoint leaves the default out
	if len(got.architectures) > 0 {
		arch = got.architectures[0]
	}
	d.add("Architecture", string(f.Architecture), string(arch))
	if f.Zip != nil {
		d.add("CodeSha256", CodeSha256(f.Zip), got.sha)
	}
	return d
}

func (f *Function) Create(ctx context.Context) error {
	if f.Zip == nil {
		return fmt.Errorf("create function %s: it has no package; build the functions first", f.Name)
	}
	timeout := int32(f.Timeout / time.Second)
	handler := Handler
	out, err := f.Lambda.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &f.Name, Role: &f.Role.ARN, Runtime: Runtime, Handler: &handler,
		Architectures: []types.Architecture{f.Architecture},
		Timeout:       &timeout, MemorySize: &f.Memory,
		Environment: f.environment(),
		Code:        &types.FunctionCode{ZipFile: f.Zip},
		Tags:        f.Owner.Tags(),
	})
	if err != nil {
		return failed("create function", f.Name, err)
	}
	if out.State == types.StateActive {
		return nil
	}
	return f.settled(ctx, "")
}

func (f *Function) environment() *types.Environment {
	return &types.Environment{Variables: f.Environment}
}

// settled waits until the function, or one of its versions, takes changes:
// Lambda refuses them while it is being created or updated.
func (f *Function) settled(ctx context.Context, qualifier string) error {
	what := strings.TrimSuffix("function "+f.Name+":"+qualifier, ":")
	return until(ctx, what, func(ctx context.Context) (bool, error) {
		in := &lambda.GetFunctionConfigurationInput{FunctionName: &f.Name}
		if qualifier != "" {
			in.Qualifier = &qualifier
		}
		out, err := f.Lambda.GetFunctionConfiguration(ctx, in)
		switch {
		case gone(err):
			return false, nil // not visible yet
		case err != nil:
			return false, err
		case out.State == types.StateFailed:
			return false, fmt.Errorf("%s is Failed: %s", what, deref(out.StateReason))
		case out.LastUpdateStatus == types.LastUpdateStatusFailed && qualifier != "":
			return false, fmt.Errorf("the update of %s failed: %s", what, deref(out.LastUpdateStatusReason))
		}
		return out.State != types.StatePending && out.LastUpdateStatus != types.LastUpdateStatusInProgress, nil
	})
}

func (f *Function) Update(ctx context.Context, diffs []graph.Diff) error {
	if err := f.settled(ctx, ""); err != nil {
		return err
	}
	if drifted(diffs, "Role", "Runtime", "Handler", "Timeout", "MemorySize", "Environment") {
		timeout, handler := int32(f.Timeout/time.Second), Handler
		_, err := f.Lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
			FunctionName: &f.Name, Role: &f.Role.ARN, Runtime: Runtime, Handler: &handler,
			Timeout: &timeout, MemorySize: &f.Memory, Environment: f.environment(),
		})
		if err != nil {
			return failed("configure function", f.Name, err)
		}
		if err := f.settled(ctx, ""); err != nil {
			return err
		}
	}
	if !drifted(diffs, "CodeSha256", "Architecture") {
		return nil
	}
	if f.Zip == nil {
		return fmt.Errorf("update code of function %s: it has no package; build the functions first", f.Name)
	}
	_, err := f.Lambda.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{
		FunctionName: &f.Name, ZipFile: f.Zip, Architectures: []types.Architecture{f.Architecture},
	})
	if err != nil {
		return failed("update code of function", f.Name, err)
	}
	return f.settled(ctx, "")
}

func (f *Function) Delete(ctx context.Context) error {
	_, err := f.Lambda.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &f.Name})
	if err := deleted("function "+f.Name, err); err != nil {
		return err
	}
	return until(ctx, "deletion of function "+f.Name, func(ctx context.Context) (bool, error) {
		_, err := f.Lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &f.Name})
		if gone(err) {
			return true, nil
		}
		return false, err
	})
}
