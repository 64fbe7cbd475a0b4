package codebuild

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// buildKind is the task that is a build: it is sent when the build is started
// and ends with it. A build that a crash has cut off begins again, in a fresh
// folder.
const buildKind = "codebuild.build"

// An execution is a build under way.
type execution struct {
	s      *Service
	b      *build
	as     wire.As // the project's role
	keys   *sts.AssumeRoleOutput
	out    *output
	dir    string
	spec   *buildspec
	shell  *shell
	failed bool // a phase has failed
}

// A failure is why a phase has failed, as its context tells.
type failure struct{ code, text string }

func (f *failure) Error() string { return f.code + ": " + f.text }

func fail(code, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...)}
}

var (
	errStopped  = errors.New("the build was stopped")
	errTimedOut = errors.New("the build took too long")
)

// run is the handler of buildKind.
func (s *Service) run(ctx context.Context, t event.Task) event.Result {
	x := &execution{s: s}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		b, ok, err := builds.Get(tx, t.ID)
		if err != nil || !ok || b.BuildComplete {
			return err
		}
		x.b = &b
		b.Attempts++
		if now := time.Now().UTC(); b.Attempts == 1 && now.Sub(*b.StartTime) > time.Duration(deref(b.QueuedTimeoutInMinutes))*time.Minute {
			x.b = nil
			return s.complete(tx, &b, types.StatusTypeTimedOut, &types.PhaseContext{StatusCode: new("BUILD_TIMED_OUT"), Message: new("Build has been queued for too long")})
		}
		if b.Attempts > 1 && len(b.Phases) > 2 {
			b.Phases = b.Phases[:2]
		}
		return s.put(tx, &b)
	})
	if err != nil {
		s.Log.Error("cannot begin build", "build", t.ID, "error", err)
		return event.Retry(time.Second)
	}
	if x.b == nil {
		return event.Done()
	}
	if err := x.build(ctx); err != nil && ctx.Err() == nil {
		s.Log.Error("build interrupted", "build", t.ID, "error", err)
		return event.Retry(time.Second)
	}
	return event.Done()
}

// build carries a build through its phases. Its error means that it could not
// be recorded; what goes wrong in the build is the build's.
func (x *execution) build(life context.Context) error {
	x.dir = filepath.Join(x.s.Dir, strings.ReplaceAll(*x.b.Id, ":", "-"))
	defer x.clean()
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	defer x.watch(ctx, cancel)()
	limit := time.AfterFunc(time.Duration(deref(x.b.TimeoutInMinutes))*time.Minute, func() { cancel(errTimedOut) })
	defer limit.Stop()

	err := x.phases(ctx)
	if life.Err() != nil {
		return life.Err() // the next process begins again
	}
	status, why := types.StatusTypeSucceeded, (*types.PhaseContext)(nil)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errStopped):
		status = types.StatusTypeStopped
	case errors.Is(cause, errTimedOut):
		status, why = types.StatusTypeTimedOut, &types.PhaseContext{StatusCode: new("BUILD_TIMED_OUT"), Message: new("Build has timed out. ")}
	case err != nil:
		return err
	case x.failed:
		status = types.StatusTypeFailed
	}
	x.clean() // who is told that it is over finds nothing of it
	return x.s.DB.Update(life, func(tx *store.Tx) error { return x.s.complete(tx, x.b, status, why) })
}

// complete ends a build.
func (s *Service) complete(tx *store.Tx, b *build, status types.StatusType, why *types.PhaseContext) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	if status != types.StatusTypeSucceeded && status != types.StatusTypeFailed {
		b.leave(status, why, now)
	}
	b.enter(types.BuildPhaseTypeCompleted, now)
	b.BuildStatus, b.BuildComplete, b.EndTime = status, true, &now
	if err := s.tell(tx, b); err != nil {
		return err
	}
	return s.put(tx, b)
}

// watch cancels the build when somebody has asked to stop it.
func (x *execution) watch(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	changed, unsubscribe := x.s.Signals.Subscribe(*x.b.Arn)
	ended := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			stopping := false
			err := x.s.DB.View(func(tx *store.Tx) error {
				b, _, err := builds.Get(tx, x.b.key())
				stopping = b.Stopping
				return err
			})
			if err == nil && stopping {
				cancel(errStopped)
				return
			}
			select {
			case <-changed:
			case <-ended:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { close(ended); <-done; unsubscribe() }
}

func (x *execution) clean() {
	if err := os.RemoveAll(x.dir); err != nil {
		x.s.Log.Warn("cannot remove a build's folder", "dir", x.dir, "error", err)
	}
}

// phases runs all phases. Only what makes it impossible to go on recording is
// an error.
func (x *execution) phases(ctx context.Context) error {
	if ok, err := x.phase(ctx, types.BuildPhaseTypeProvisioning, x.provision); !ok {
		return err
	}
	stop := x.out.follow(context.WithoutCancel(ctx), func(err error) { x.s.Log.Warn("a build's log was not taken", "build", *x.b.Id, "error", err) })
	defer stop()
	if ok, err := x.phase(ctx, types.BuildPhaseTypeDownloadSource, x.prepare); !ok {
		return err
	}
	p := &x.spec.Phases
	for _, step := range []struct {
		kind  types.BuildPhaseType
		phase phase
		// after a failure, the next phase is skipped too, unless on-failure says CONTINUE
		final bool
	}{{types.BuildPhaseTypeInstall, p.Install, true}, {types.BuildPhaseTypePreBuild, p.PreBuild, true}, {types.BuildPhaseTypeBuild, p.Build, false}, {types.BuildPhaseTypePostBuild, p.PostBuild, true}} {
		ok, err := x.phase(ctx, step.kind, func(ctx context.Context) error { return x.commands(ctx, step.kind, step.phase) })
		if err != nil || ctx.Err() != nil {
			return err
		}
		if !ok && step.phase.OnFailure != "CONTINUE" && (step.final || step.phase.OnFailure == "ABORT") {
			return x.finalize(ctx)
		}
	}
	if _, err := x.phase(ctx, types.BuildPhaseTypeUploadArtifacts, x.artifacts); err != nil || ctx.Err() != nil {
		return err
	}
	return x.finalize(ctx)
}

func (x *execution) finalize(ctx context.Context) error {
	_, err := x.phase(ctx, types.BuildPhaseTypeFinalizing, func(context.Context) error {
		for _, name := range x.spec.Env.Exported {
			x.b.ExportedEnvironmentVariables = append(x.b.ExportedEnvironmentVariables, types.ExportedEnvironmentVariable{Name: &name, Value: new(x.shell.value(name))})
		}
		return nil
	})
	return err
}

// phase runs one phase and records how it went; ok means that it succeeded.
func (x *execution) phase(ctx context.Context, kind types.BuildPhaseType, do func(context.Context) error) (ok bool, err error) {
	if ended(ctx) {
		return false, nil
	}
	if err := x.record(ctx, func(now time.Time) { x.b.enter(kind, now) }); err != nil {
		return false, err
	}
	logged := x.spec != nil && kind != types.BuildPhaseTypeFinalizing
	if logged {
		x.out.say("Entering phase %s", kind)
	}
	status, about := types.StatusTypeSucceeded, contextOf(do(ctx))
	if ended(ctx) {
		return false, nil // whatever the phase says of it
	}
	if about != nil {
		x.failed, status = true, types.StatusTypeFailed
	}
	if logged {
		x.out.say("Phase complete: %s State: %s", kind, status)
		if about != nil {
			x.out.say("Phase context status code: %s Message: %s", *about.StatusCode, *about.Message)
		}
	}
	return about == nil, x.record(ctx, func(now time.Time) { x.b.leave(status, about, now) })
}

// ended tells that the build was stopped, has timed out, or that the cloud ends.
func ended(ctx context.Context) bool { return ctx.Err() != nil }

// contextOf is what a phase tells of its failure; nil if it has not failed.
func contextOf(err error) *types.PhaseContext {
	if err == nil {
		return nil
	}
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = &failure{"CLIENT_ERROR", err.Error()}
	}
	return &types.PhaseContext{StatusCode: &f.code, Message: &f.text}
}

// record commits a change of the build, keeping what others changed meanwhile.
func (x *execution) record(ctx context.Context, change func(now time.Time)) error {
	return x.s.DB.Update(ctx, func(tx *store.Tx) error {
		now, ok, err := builds.Get(tx, x.b.key())
		if err != nil || !ok {
			return err
		}
		x.b.Stopping = now.Stopping
		change(time.Now().UTC().Truncate(time.Millisecond))
		return x.s.put(tx, x.b)
	})
}

// provision makes what a build needs: its role's credentials, a log stream and
// a folder.
func (x *execution) provision(ctx context.Context) error {
	as := wire.As{Region: x.b.Region, Principal: authz.ServicePrincipal("codebuild", *x.b.Arn, x.s.Account)}
	_, id, _ := strings.Cut(*x.b.Id, ":")
	keys, err := wire.Do[sts.AssumeRoleOutput](ctx, x.s.Caller, as, &sts.AssumeRoleInput{RoleArn: x.b.ServiceRole, RoleSessionName: new("AWSCodeBuild-" + id)})
	if err != nil {
		return fail("ACCESS_DENIED", "CodeBuild is not authorized to perform: sts:AssumeRole on service role. Please verify that: 1) The provided service role exists, 2) The role name is case-sensitive and matches exactly, and 3) The role has the necessary trust policy configured: %v", err)
	}
	x.keys = keys
	x.as = wire.As{Region: x.b.Region, Principal: authz.Principal{
		Type: authz.AssumedRole, ARN: *keys.AssumedRoleUser.Arn, ID: *keys.AssumedRoleUser.AssumedRoleId, Account: x.s.Account, RoleARN: *x.b.ServiceRole,
	}}
	x.out = &output{caller: x.s.Caller, as: x.as, group: deref(x.b.Build.Logs.GroupName), stream: deref(x.b.Build.Logs.StreamName)}
	if err := x.out.open(ctx); err != nil {
		return fail("ACCESS_DENIED", "Service role %s does not allow AWS CodeBuild to create Amazon CloudWatch Logs log streams for build %s. Error message: %v", *x.b.ServiceRole, *x.b.Arn, err)
	}
	x.clean()
	for _, dir := range []string{"src", "home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(x.dir, dir), 0o700); err != nil {
			return err
		}
	}
	if x.b.Attempts > 1 {
		x.out.say("The build was interrupted and begins again (attempt %d)", x.b.Attempts)
	}
	return nil
}

// commands runs the commands of a phase, up to the first that fails, and then
// those that are to run in any case.
func (x *execution) commands(ctx context.Context, kind types.BuildPhaseType, p phase) error {
	if kind == types.BuildPhaseTypeInstall {
		if err := x.runtimes(ctx, p.Runtimes); err != nil {
			return err
		}
	}
	succeeding := "1"
	if x.failed {
		succeeding = "0"
	}
	if err := x.shell.set(ctx, "CODEBUILD_BUILD_SUCCEEDING", succeeding); err != nil {
		return err
	}
	err := x.each(ctx, p.Commands)
	return errors.Join(err, x.each(ctx, p.Finally))
}

func (x *execution) each(ctx context.Context, commands []string) error {
	for _, c := range commands {
		x.out.say("Running command %s", c)
		if err := x.shell.run(ctx, c); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			x.out.say("Command did not exit successfully %s exit status %d", c, exitStatus(err))
			return fail("COMMAND_EXECUTION_ERROR", "Error while executing command: %s. Reason: exit status %d", c, exitStatus(err))
		}
	}
	return nil
}

// artifacts hands on what the build has made.
func (x *execution) artifacts(ctx context.Context) error {
	for i, to := range x.b.Outputs {
		if to.Type == types.ArtifactsTypeNoArtifacts {
			continue
		}
		from, ok := x.spec.Artifacts, true
		if i > 0 {
			from, ok = x.spec.Artifacts.Secondary[deref(to.ArtifactIdentifier)]
		}
		if !ok || len(from.Files) == 0 {
			return fail("CLIENT_ERROR", "no artifacts named %q in the buildspec", deref(to.ArtifactIdentifier))
		}
		made, err := x.artifact(ctx, to, from)
		if err != nil {
			return err
		}
		if i == 0 {
			x.b.Artifacts = made
		} else {
			made.ArtifactIdentifier = to.ArtifactIdentifier
			x.b.SecondaryArtifacts = append(x.b.SecondaryArtifacts, *made)
		}
	}
	return nil
}

// artifact packs and uploads one artifact.
func (x *execution) artifact(ctx context.Context, to types.ProjectArtifacts, from outputs) (*types.BuildArtifacts, error) {
	base := from.Base
	if base != "" {
		base = os.Expand(base, x.shell.value)
	}
	dir := x.source()
	if base != "" {
		if out, err := leadsOut(dir, base); err != nil {
			return nil, err
		} else if out {
			return nil, fail("CLIENT_ERROR", "base-directory %s leads out of the source folder", base)
		}
		dir = filepath.Join(dir, base)
	}
	x.out.say("Expanding base directory path: %s", from.Base)
	files, err := match(dir, from.Files, from.Exclude)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fail("CLIENT_ERROR", "no matching base directory path found for %s", from.Base)
	}
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fail("CLIENT_ERROR", "no matching artifact paths found for %s", strings.Join(from.Files, ", "))
	}
	x.out.say("Found %d file(s)", len(files))
	name := deref(to.Name)
	if from.Name != "" && deref(to.OverrideArtifactName) {
		name = from.Name
	}
	if name == "" {
		name = *x.b.ProjectName
	}
	key := deref(to.Path)
	if to.NamespaceType == types.ArtifactNamespaceBuildId {
		_, id, _ := strings.Cut(*x.b.Id, ":")
		key = path.Join(key, id)
	}
	key = strings.TrimPrefix(path.Join(key, name), "/")
	made := &types.BuildArtifacts{Location: new("arn:aws:s3:::" + *to.Location + "/" + key), EncryptionDisabled: new(deref(to.EncryptionDisabled)), OverrideArtifactName: to.OverrideArtifactName}
	encrypted := !deref(to.EncryptionDisabled)
	if to.Packaging != types.ArtifactPackagingZip {
		return made, x.uploadFiles(ctx, *to.Location, key, dir, files, from.discards(), encrypted)
	}
	archive, err := zipFiles(dir, files, from.discards())
	if err != nil {
		return nil, err
	}
	sha, sum := sha256.Sum256(archive), md5.Sum(archive)
	made.Sha256sum, made.Md5sum = new(hex.EncodeToString(sha[:])), new(hex.EncodeToString(sum[:]))
	return made, uploadError(x.upload(ctx, *to.Location, key, archive, encrypted))
}

func (x *execution) uploadFiles(ctx context.Context, bucket, key, dir string, files []string, flat, encrypted bool) error {
	for _, name := range files {
		_, content, err := readFile(dir, name)
		if err != nil {
			return err
		}
		if flat {
			name = path.Base(name)
		}
		if err := x.upload(ctx, bucket, path.Join(key, name), content, encrypted); err != nil {
			return uploadError(err)
		}
	}
	return nil
}

func uploadError(err error) error {
	if err == nil {
		return nil
	}
	return fail("CLIENT_ERROR", "Error in UPLOAD_ARTIFACTS phase: %v", err)
}
