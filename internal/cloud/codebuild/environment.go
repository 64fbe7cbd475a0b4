package codebuild

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"
)

// source is the folder of the primary source.
func (x *execution) source() string { return filepath.Join(x.dir, "src") }

// prepare fetches the sources, reads the buildspec and makes the shell.
func (x *execution) prepare(ctx context.Context) error {
	env := x.variables(ctx)
	if err := x.fetch(ctx, *x.b.Source, deref(x.b.SourceVersion), x.source()); err != nil {
		return err
	}
	for _, src := range x.b.SecondarySources {
		id := *src.SourceIdentifier
		if !filepath.IsLocal(id) || strings.ContainsAny(id, `/\`) {
			return fail("CLIENT_ERROR", "source identifier %q is not a name", id)
		}
		dir := filepath.Join(x.dir, "secondary", id)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := x.fetch(ctx, src, "", dir); err != nil {
			return err
		}
		env = append(env, "CODEBUILD_SRC_DIR_"+id+"="+dir)
	}
	text, err := x.buildspecText()
	if err != nil {
		return err
	}
	if x.spec, err = parseBuildspec(text); err != nil {
		return fail("YAML_FILE_ERROR", "%v", err)
	}
	names := map[string]bool{}
	for _, v := range x.b.Environment.EnvironmentVariables {
		env, names[*v.Name] = append(env, *v.Name+"="+*v.Value), true
	}
	for name, value := range x.spec.Env.Variables {
		if !names[name] { // the project's, and those of this build, go before
			env = append(env, name+"="+value)
		}
	}
	x.shell, err = newShell(x.source(), env, x.out)
	return err
}

// fetch puts a source into a folder.
func (x *execution) fetch(ctx context.Context, src types.ProjectSource, version, dir string) (err error) {
	var archive []byte
	switch src.Type {
	case types.SourceTypeNoSource:
		return nil
	case types.SourceTypeCodecommit:
		if x.s.Archive == nil {
			return fail("CLIENT_ERROR", "there is no CodeCommit")
		}
		name := (*src.Location)[strings.LastIndexByte(*src.Location, '/')+1:]
		archive, err = x.s.Archive(ctx, x.as, name, version)
	default:
		archive, err = x.download(ctx, *src.Location)
	}
	if err != nil {
		return fail("CLIENT_ERROR", "%v for primary source and source version %s", err, version)
	}
	if err := unzip(archive, dir); err != nil {
		return fail("CLIENT_ERROR", "%v", err)
	}
	return nil
}

// buildspecText is the buildspec itself, or the file that it names in the source.
func (x *execution) buildspecText() ([]byte, error) {
	spec := deref(x.b.Source.Buildspec)
	if strings.Contains(spec, "\n") || strings.HasPrefix(strings.TrimSpace(spec), "{") {
		return []byte(spec), nil
	}
	if spec == "" {
		spec = "buildspec.yml"
	}
	if !filepath.IsLocal(spec) {
		return nil, fail("YAML_FILE_ERROR", "buildspec %s leads out of the source folder", spec)
	}
	_, text, err := readFile(x.source(), spec)
	if err != nil {
		return nil, fail("YAML_FILE_ERROR", "stat %s: no such file or directory", spec)
	}
	return text, nil
}

// goSettings are what a build may know of this machine's Go: where modules are
// that were fetched before, where to fetch others, and what was compiled before
// (the functions were, by up: a cold build takes a minute, a warm one seconds).
// Nothing else of the user's environment reaches a build, except where programs
// are.
var goSettings = []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOTOOLCHAIN"}

// variables are the environment of all commands.
// https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
func (x *execution) variables(ctx context.Context) []string {
	endpoint, err := x.s.Endpoint()
	if err != nil {
		endpoint = ""
	}
	b, log := &x.b.Build, x.b.Build.Logs
	programs := os.Getenv("PATH") //nolint:forbidigo // where programs are is all that builds get of the user's environment
	env := []string{
		"PATH=" + programs, "HOME=" + filepath.Join(x.dir, "home"), "TMPDIR=" + filepath.Join(x.dir, "tmp"),
		"GOPATH=" + filepath.Join(x.dir, "home", "go"),
		"AWS_REGION=" + x.b.Region, "AWS_DEFAULT_REGION=" + x.b.Region, "AWS_ENDPOINT_URL=" + endpoint,
		"AWS_ACCESS_KEY_ID=" + *x.keys.Credentials.AccessKeyId, "AWS_SECRET_ACCESS_KEY=" + *x.keys.Credentials.SecretAccessKey, "AWS_SESSION_TOKEN=" + *x.keys.Credentials.SessionToken,
		"CI=true", "CODEBUILD_CI=true", "CODEBUILD_BUILD_ID=" + *b.Id, "CODEBUILD_BUILD_ARN=" + *b.Arn, "CODEBUILD_BUILD_NUMBER=" + strconv.FormatInt(*b.BuildNumber, 10),
		"CODEBUILD_BUILD_IMAGE=" + deref(b.Environment.Image), "CODEBUILD_INITIATOR=" + *b.Initiator, "CODEBUILD_KMS_KEY_ID=" + deref(b.EncryptionKey),
		"CODEBUILD_LOG_PATH=" + deref(log.StreamName), "CODEBUILD_SRC_DIR=" + x.source(), "CODEBUILD_START_TIME=" + strconv.FormatInt(b.StartTime.UnixMilli(), 10),
		"CODEBUILD_SOURCE_VERSION=" + deref(b.SourceVersion), "CODEBUILD_RESOLVED_SOURCE_VERSION=" + deref(b.ResolvedSourceVersion),
		"CODEBUILD_SOURCE_REPO_URL=" + deref(b.Source.Location), "CODEBUILD_BUILD_SUCCEEDING=1", "CODEBUILD_PROJECT_ARN=" + x.s.arn(x.b.Region, "project", *b.ProjectName),
		"CODEBUILD_EXECUTION_ROLE_BUILD=" + *b.ServiceRole,
	}
	if out, err := exec.CommandContext(ctx, "go", append([]string{"env"}, goSettings...)...).Output(); err == nil {
		for i, value := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
			if i < len(goSettings) && value != "" {
				env = append(env, goSettings[i]+"="+value)
			}
		}
	}
	return env
}

// runtimes checks the languages that a build asks for: they are this machine's.
func (x *execution) runtimes(ctx context.Context, want map[string]any) error {
	names := []string{}
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name != "golang" {
			return fail("YAML_FILE_ERROR", "Unknown runtime named '%s'. This build image has the following runtimes: golang", name)
		}
		out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
		if err != nil {
			return fail("COMMAND_EXECUTION_ERROR", "no Go toolchain where builds run: install Go (https://go.dev/dl) and put its bin folder on the PATH of the cloud")
		}
		x.out.say("Selecting 'golang' runtime: this machine's %s for %s/%s, asked for %s", strings.TrimSpace(string(out)), runtime.GOOS, runtime.GOARCH, fmt.Sprint(want[name]))
	}
	return nil
}
