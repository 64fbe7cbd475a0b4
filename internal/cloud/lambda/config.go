package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/wire"
)

// newConfig is a function's configuration with all defaults.
func newConfig(n name, in *sdk.CreateFunctionInput) types.FunctionConfiguration {
	c := types.FunctionConfiguration{
		FunctionName: &n.function, FunctionArn: new(n.arn()), Version: new(latest), Description: new(""), Timeout: new(int32(3)), MemorySize: new(int32(128)),
		Architectures: in.Architectures, PackageType: types.PackageTypeZip, TracingConfig: &types.TracingConfigResponse{Mode: types.TracingModePassThrough},
		EphemeralStorage: &types.EphemeralStorage{Size: new(int32(512))},
		SnapStart:        &types.SnapStartResponse{ApplyOn: types.SnapStartApplyOnNone, OptimizationStatus: types.SnapStartOptimizationStatusOff},
		LoggingConfig:    &types.LoggingConfig{LogFormat: types.LogFormatText, LogGroup: new("/aws/lambda/" + n.function)},
		RuntimeVersionConfig: &types.RuntimeVersionConfig{
			RuntimeVersionArn: new("arn:aws:lambda:" + n.region + "::runtime:6d6d6966f6f7267656d696e69666f7267656d696e69666f7267656d696e69666f"),
		},
	}
	if c.Architectures == nil {
		c.Architectures = []types.Architecture{types.ArchitectureX8664}
	}
	return c
}

// checkNew refuses what only creating a function can ask for.
func checkNew(in *sdk.CreateFunctionInput) error {
	switch {
	case in.PackageType == types.PackageTypeImage || in.Code.ImageUri != nil:
		return badValue("Functions from container images are not supported here: use a zip archive.")
	case in.Runtime == "" || in.Handler == nil:
		return badValue("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	case in.CodeSigningConfigArn != nil:
		return &types.CodeSigningConfigNotFoundException{Message: new("The code signing configuration cannot be found. Check that the provided configuration is not deleted: " + *in.CodeSigningConfigArn + ".")}
	case len(in.Tags) > maxTags:
		return badValue("Number of tags exceeds resource tag limit.")
	}
	return nil
}

// asConfiguration is the part of creating that configuring does as well.
func asConfiguration(in *sdk.CreateFunctionInput) *sdk.UpdateFunctionConfigurationInput {
	return &sdk.UpdateFunctionConfigurationInput{
		FunctionName: in.FunctionName, DeadLetterConfig: in.DeadLetterConfig, Description: in.Description, Environment: in.Environment,
		EphemeralStorage: in.EphemeralStorage, FileSystemConfigs: in.FileSystemConfigs, Handler: in.Handler, ImageConfig: in.ImageConfig, KMSKeyArn: in.KMSKeyArn,
		Layers: in.Layers, LoggingConfig: in.LoggingConfig, MemorySize: in.MemorySize, Role: in.Role, Runtime: in.Runtime, SnapStart: in.SnapStart,
		Timeout: in.Timeout, TracingConfig: in.TracingConfig, VpcConfig: in.VpcConfig, CapacityProviderConfig: in.CapacityProviderConfig, DurableConfig: in.DurableConfig,
	}
}

// runtimes are those that functions can be created with.
var runtimes = []types.Runtime{
	"nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x", "nodejs22.x", "java25", "python3.10", "python3.11", "java21",
	"ruby3.3", "ruby3.4", "ruby3.2", "python3.9", "java17", "dotnet10", "dotnet8", "java11", "provided.al2", "java8.al2",
}

// retired are those that no function can be created with any more.
var retired = []types.Runtime{
	"go1.x", "provided", "java8", "dotnetcore3.1", "dotnet5.0", "dotnet6", "dotnet7", "dotnetcore2.1", "python2.7", "python3.6", "python3.7", "python3.8", "ruby2.5", "ruby2.7",
	"nodejs", "nodejs4.3", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x", "nodejs16.x", "nodejs18.x",
}

func checkRuntime(r types.Runtime) error {
	switch {
	case slices.Contains(retired, r):
		return badValue("The runtime parameter of " + string(r) + " is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions.")
	case !slices.Contains(runtimes, r):
		names := make([]string, len(runtimes))
		for i, x := range runtimes {
			names[i] = string(x)
		}
		return badValue("Value " + string(r) + " at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [" + strings.Join(names, ", ") + "] or be a valid ARN")
	}
	return nil
}

// configure applies settings to a version. Members that are nil stay as they are.
func (s *Service) configure(ctx context.Context, n name, v *versionRow, in *sdk.UpdateFunctionConfigurationInput) error {
	c := &v.Config
	if err := unsupported(in); err != nil {
		return err
	}
	if in.Runtime != "" {
		if err := checkRuntime(in.Runtime); err != nil {
			return err
		}
		c.Runtime = in.Runtime
	}
	if in.Role != nil {
		if _, err := s.assume(ctx, n, *in.Role); err != nil {
			return err
		}
		c.Role = in.Role
	}
	set(&c.Handler, in.Handler)
	set(&c.Description, in.Description)
	set(&c.Timeout, in.Timeout)
	set(&c.MemorySize, in.MemorySize)
	set(&c.EphemeralStorage, in.EphemeralStorage)
	if in.DeadLetterConfig != nil {
		c.DeadLetterConfig = in.DeadLetterConfig
		if aws.ToString(in.DeadLetterConfig.TargetArn) == "" {
			c.DeadLetterConfig = nil
		}
	}
	if in.TracingConfig != nil && in.TracingConfig.Mode != "" {
		c.TracingConfig = &types.TracingConfigResponse{Mode: in.TracingConfig.Mode}
	}
	if in.SnapStart != nil && in.SnapStart.ApplyOn != "" {
		c.SnapStart = &types.SnapStartResponse{ApplyOn: in.SnapStart.ApplyOn, OptimizationStatus: types.SnapStartOptimizationStatusOff}
	}
	if in.LoggingConfig != nil {
		if err := setLogging(c, in.LoggingConfig); err != nil {
			return err
		}
	}
	return s.setEnvironment(ctx, n, v, in)
}

func set[V any](dst **V, v *V) {
	if v != nil {
		*dst = v
	}
}

// unsupported refuses what this cloud has no counterpart of, rather than to ignore it.
func unsupported(in *sdk.UpdateFunctionConfigurationInput) error {
	switch {
	case len(in.Layers) > 5:
		return badValue("Cannot reference more than 5 layers.")
	case len(in.Layers) > 0:
		return badValue("Layer version " + in.Layers[0] + " does not exist.")
	case in.VpcConfig != nil && len(in.VpcConfig.SubnetIds) > 0:
		return badValue("Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: The subnet ID '" + in.VpcConfig.SubnetIds[0] + "' does not exist")
	case len(in.FileSystemConfigs) > 0:
		return badValue("File systems are not supported here.")
	case in.ImageConfig != nil && (len(in.ImageConfig.Command) > 0 || len(in.ImageConfig.EntryPoint) > 0):
		return badValue("ImageConfig is not supported for functions from zip archives.")
	case in.DurableConfig != nil || in.CapacityProviderConfig != nil:
		return badValue("Durable functions and capacity providers are not supported here.")
	}
	return nil
}

func setLogging(c *types.FunctionConfiguration, in *types.LoggingConfig) error {
	l := *c.LoggingConfig
	if in.LogFormat != "" {
		l.LogFormat = in.LogFormat
	}
	set(&l.LogGroup, in.LogGroup)
	switch {
	case l.LogFormat == types.LogFormatText && (in.ApplicationLogLevel != "" || in.SystemLogLevel != ""):
		return badValue("To use ApplicationLogLevel or SystemLogLevel, you must set LogFormat to JSON.")
	case l.LogFormat == types.LogFormatText:
		l.ApplicationLogLevel, l.SystemLogLevel = "", ""
	default:
		for _, x := range []struct {
			have *string
			want string
		}{{(*string)(&l.ApplicationLogLevel), string(in.ApplicationLogLevel)}, {(*string)(&l.SystemLogLevel), string(in.SystemLogLevel)}} {
			if x.want != "" {
				*x.have = x.want
			} else if *x.have == "" {
				*x.have = "INFO"
			}
		}
	}
	c.LoggingConfig = &l
	return nil
}

// maxEnvironment is the most that a function's variables take, as JSON.
const maxEnvironment = 4 << 10

// reserved are the variables that Lambda sets itself.
var reserved = []string{
	"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
	"AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
	"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}

func checkEnvironment(vars map[string]string) error {
	const unable = "Lambda was unable to configure your environment variables because the environment variables you have provided "
	text, err := json.Marshal(vars)
	if err != nil {
		return err
	}
	if len(text) > maxEnvironment {
		return badValue(unable + "exceeded the 4KB limit. String measured: " + string(text))
	}
	var used []string
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		if slices.Contains(reserved, k) {
			used = append(used, k)
		}
		if k == "" || !isLetter(k[0]) || strings.ContainsFunc(k, func(r rune) bool { return r > 127 || !isLetter(byte(r)) && r != '_' && (r < '0' || r > '9') }) {
			if !slices.Contains(reserved, k) {
				return wire.Errorf("ValidationException", "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]")
			}
		}
	}
	if used != nil {
		return badValue(unable + "contains reserved keys that are currently not supported for modification. Reserved keys used in this request: " + strings.Join(used, ", "))
	}
	return nil
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

// setEnvironment keeps the variables, sealed again when the key changes.
func (s *Service) setEnvironment(ctx context.Context, n name, v *versionRow, in *sdk.UpdateFunctionConfigurationInput) error {
	if in.Environment == nil && in.KMSKeyArn == nil {
		return nil
	}
	as := wire.CallOf(ctx).As("lambda")
	vars := map[string]string{}
	var err error
	switch {
	case in.Environment == nil:
		if vars, err = s.variables(ctx, n, v, as); err != nil {
			return environmentError(err)
		}
	case in.Environment.Variables != nil:
		vars = in.Environment.Variables
		if err := checkEnvironment(vars); err != nil {
			return err
		}
	}
	if in.KMSKeyArn != nil {
		v.Config.KMSKeyArn = in.KMSKeyArn
		if *in.KMSKeyArn == "" {
			v.Config.KMSKeyArn = nil
		}
	}
	v.Env = environment{Vars: vars, Digest: digest(vars)}
	if v.Config.KMSKeyArn == nil || len(vars) == 0 {
		return nil
	}
	k, err := envelope.NewKey(ctx, s.Caller, as, *v.Config.KMSKeyArn, sealContext(n))
	if err != nil {
		return refused(err, badValue("Lambda was unable to configure access to your environment variables because the KMS key is invalid for CreateGrant. Please check your KMS key settings."))
	}
	text, err := json.Marshal(vars)
	if err != nil {
		return err
	}
	v.Env.Vars, v.Env.Sealed, v.Env.Wrapped = nil, k.Seal(text, []byte(n.arn())), k.Wrapped
	return nil
}

func sealContext(n name) map[string]string {
	return map[string]string{"aws:lambda:FunctionArn": n.arn()}
}

// refused is what is said when another service refuses; its own failures stay.
func refused(err, said error) error {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorFault() == smithy.FaultClient {
		return said
	}
	return err
}

// variables opens a version's environment in the name of as.
func (s *Service) variables(ctx context.Context, n name, v *versionRow, as wire.As) (map[string]string, error) {
	if v.Env.Sealed == nil {
		return v.Env.Vars, nil
	}
	k, err := envelope.Unwrap(ctx, s.Caller, as, sealContext(n), v.Env.Wrapped)
	if err != nil {
		return nil, err
	}
	text, err := k.Open(v.Env.Sealed, []byte(n.arn()))
	if err != nil {
		return nil, err
	}
	var vars map[string]string
	err = json.Unmarshal(text, &vars)
	return vars, err
}

// reveal is the environment as the caller may see it: who may not use its key
// is told so in the answer.
func (s *Service) reveal(ctx context.Context, n name, v *versionRow) *types.EnvironmentResponse {
	if v.Env.Digest == "" {
		return nil
	}
	vars, err := s.variables(ctx, n, v, wire.CallOf(ctx).As("lambda"))
	if err != nil {
		return &types.EnvironmentResponse{Error: &types.EnvironmentError{
			ErrorCode: new("AccessDeniedException"), Message: new("Lambda was unable to decrypt your environment variables because the KMS access was denied. Please check your KMS permissions. KMS Exception: " + err.Error()),
		}}
	}
	return &types.EnvironmentResponse{Variables: vars}
}

func shown(e *types.Environment) *types.EnvironmentResponse {
	if e == nil {
		return nil
	}
	return &types.EnvironmentResponse{Variables: e.Variables}
}

// assume has Lambda assume a function's role and returns the credentials.
func (s *Service) assume(ctx context.Context, n name, role string) (*sts.AssumeRoleOutput, error) {
	as := wire.As{Principal: authz.ServicePrincipal("lambda", n.arn(), n.account), Region: n.region}
	session := n.function
	if len(session) < 2 { // STS takes no shorter ones
		session = "function-" + session
	}
	out, err := wire.Do[sts.AssumeRoleOutput](ctx, s.Caller, as, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: &session})
	if err != nil {
		s.Log.Debug("cannot assume a function's role", "function", n.function, "role", role, "error", err)
		return nil, refused(err, badValue("The role defined for the function cannot be assumed by Lambda."))
	}
	return out, nil
}
