package lambda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/lambda/sandbox"
	"miniforge/internal/cloud/wire"
)

const (
	initTimeout = 10 * time.Second
	// credentialsMargin is how long before the end of its credentials a
	// sandbox gets no further invocation: as long as one may take.
	credentialsMargin = 16 * time.Minute
)

// instanceKey is the same for sandboxes that can stand in for each other.
func instanceKey(n name, v *versionRow) string {
	return n.key() + "/" + *v.Config.Version + "/" + *v.Config.RevisionId
}

// sessionOf is the identity of a function: its role's session.
func sessionOf(n name, role string, out *sts.AssumeRoleOutput) wire.As {
	return wire.As{Region: n.region, Principal: authz.Principal{
		Type: authz.AssumedRole, ARN: *out.AssumedRoleUser.Arn, ID: *out.AssumedRoleUser.AssumedRoleId, Account: n.account, RoleARN: role,
	}}
}

// start makes a sandbox of a version, ready for invocations.
func (s *Service) start(ctx context.Context, n name, v *versionRow) (*instance, error) {
	session, err := s.assume(ctx, n, *v.Config.Role)
	if err != nil {
		if _, ok := errors.AsType[*types.InvalidParameterValueException](err); ok {
			err = &wire.Error{Code: "AccessDeniedException", Message: "The role defined for the function cannot be assumed by Lambda.", Status: 403}
		}
		return nil, err
	}
	role := sessionOf(n, *v.Config.Role, session)
	vars, err := s.variables(ctx, n, v, role)
	if err != nil {
		return nil, environmentError(err)
	}
	stream := time.Now().UTC().Format("2006/01/02") + "/[" + *v.Config.Version + "]" + strings.ReplaceAll(uuid.NewString(), "-", "")
	l := newLogStream(&logStream{caller: s.Caller, as: role, group: *v.Config.LoggingConfig.LogGroup, stream: stream, format: *v.Config.LoggingConfig, log: s.Log})
	spec, cleanup, err := s.spec(n, v, session, vars, l)
	if err != nil {
		l.close()
		return nil, err
	}
	initStart(l, &v.Config)
	begun := time.Now()
	box, err := s.Launcher.Launch(ctx, spec)
	took := time.Since(begun)
	if f, ok := errors.AsType[*sandbox.Failure](err); ok && f.Type == sandbox.TimedOut {
		// What takes longer to initialise gets the time of an invocation, as on AWS.
		l.add(fmt.Sprintf("INIT_REPORT Init Duration: %.2f ms\tPhase: init\tStatus: timeout", milliseconds(took)))
		spec.InitTimeout = time.Duration(*v.Config.Timeout) * time.Second
		box, err = s.Launcher.Launch(ctx, spec)
	}
	if err != nil {
		if f, ok := errors.AsType[*sandbox.Failure](err); ok {
			l.add(fmt.Sprintf("INIT_REPORT Init Duration: %.2f ms\tPhase: init\tStatus: error\tError Type: %s", milliseconds(took), f.Type))
		}
		cleanup()
		l.close()
		return nil, err
	}
	return &instance{Sandbox: cleaned{box, cleanup}, log: l, initTook: took, expires: session.Credentials.Expiration.Add(-credentialsMargin)}, nil
}

// cleaned is a sandbox that leaves no files behind.
type cleaned struct {
	sandbox.Sandbox
	cleanup func()
}

func (c cleaned) Close() {
	c.Sandbox.Close()
	c.cleanup()
}

// spec is what a sandbox of a version runs, with the environment that Lambda
// documents and nothing of the cloud's own.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
func (s *Service) spec(n name, v *versionRow, session *sts.AssumeRoleOutput, vars map[string]string, l *logStream) (sandbox.Spec, func(), error) {
	endpoint, err := s.Endpoint()
	if err != nil {
		return sandbox.Spec{}, nil, fmt.Errorf("find the cloud's endpoint for function %s: %w", n.function, err)
	}
	task := s.code.task(v.Code)
	command, err := commandOf(v, task)
	if err != nil {
		return sandbox.Spec{}, nil, err
	}
	if err := os.MkdirAll(s.tempDir(), 0o700); err != nil {
		return sandbox.Spec{}, nil, fmt.Errorf("make temporary folder of function %s: %w", n.function, err)
	}
	temp, err := os.MkdirTemp(s.tempDir(), n.function+"-")
	if err != nil {
		return sandbox.Spec{}, nil, fmt.Errorf("make temporary folder of function %s: %w", n.function, err)
	}
	env := map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME": n.function, "AWS_LAMBDA_FUNCTION_VERSION": *v.Config.Version, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": fmt.Sprint(*v.Config.MemorySize),
		"AWS_LAMBDA_LOG_GROUP_NAME": l.group, "AWS_LAMBDA_LOG_STREAM_NAME": l.stream, "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_REGION": n.region, "AWS_DEFAULT_REGION": n.region, "AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ACCESS_KEY_ID": *session.Credentials.AccessKeyId, "AWS_SECRET_ACCESS_KEY": *session.Credentials.SecretAccessKey, "AWS_SESSION_TOKEN": *session.Credentials.SessionToken,
		"_HANDLER": *v.Config.Handler, "LAMBDA_TASK_ROOT": task, "LAMBDA_RUNTIME_DIR": task, "TZ": ":UTC", "LANG": "en_US.UTF-8",
		"PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin", "TMPDIR": temp, "HOME": temp,
	}
	if v.Config.LoggingConfig.LogFormat == types.LogFormatJson {
		env["AWS_LAMBDA_LOG_FORMAT"], env["AWS_LAMBDA_LOG_LEVEL"] = "JSON", string(v.Config.LoggingConfig.ApplicationLogLevel)
	}
	maps.Copy(env, vars)
	list := make([]string, 0, len(env))
	for k, x := range env {
		list = append(list, k+"="+x)
	}
	slices.Sort(list)
	cleanup := func() { _ = os.RemoveAll(temp) } // the next start removes what is left
	return sandbox.Spec{Dir: task, Command: command, Env: list, Line: l.line, InitTimeout: initTimeout}, cleanup, nil
}

// commandOf is the program of a version.
func commandOf(v *versionRow, task string) ([]string, error) {
	switch runtime := string(v.Config.Runtime); {
	case strings.HasPrefix(runtime, "provided"):
		return []string{filepath.Join(task, "bootstrap")}, nil
	case strings.HasPrefix(runtime, "python"):
		python, err := findPython()
		if err != nil {
			return nil, &sandbox.Failure{Type: sandbox.InvalidEntry, Message: "functions of runtime " + runtime + " need python3: " + err.Error()}
		}
		return []string{python, "-u", "-c", pythonRuntime}, nil
	default:
		return nil, &sandbox.Failure{Type: sandbox.InvalidEntry, Message: "this cloud runs functions of the runtimes provided.* and python3.*, not " + runtime}
	}
}
