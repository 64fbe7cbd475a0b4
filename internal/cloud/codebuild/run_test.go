package codebuild

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/cloud/wire"
)

// TestBuild runs all phases in one shell: what one command sets is there for
// the next, and what the user's environment has is not.
func TestBuild(t *testing.T) {
	t.Setenv("MINIFORGE_TEST_SECRET", "not for builds")
	r := newRig(t)
	r.project(`
version: 0.2
env:
  variables: {COLOR: red, SHAPE: round}
  exported-variables: [RESULT]
phases:
  install:
    commands: ['mkdir -p made/deep', 'export STEP=one']
  build:
    commands:
      - cd made
      - echo "$STEP $COLOR $SHAPE ${MINIFORGE_TEST_SECRET:-clean}" > deep/said
      - echo twice >> deep/said
      - export RESULT="$STEP-done"
      - test "$AWS_ACCESS_KEY_ID/$AWS_REGION/$CODEBUILD_BUILD_NUMBER" = AKROLE/us-east-1/1
    finally: ['echo finally']
  post_build:
    commands: ['echo after >&2']
artifacts:
  base-directory: made
  files: ['**/*']
  exclude-paths: ['**/*.no']
`, map[string]string{"a.txt": "a"})
	b := r.await(*r.start(sdk.StartBuildInput{EnvironmentVariablesOverride: []types.EnvironmentVariable{{Name: new("COLOR"), Value: new("blue")}}}).Id, complete)
	if b.BuildStatus != types.StatusTypeSucceeded {
		t.Fatalf("%s\n%s", b.BuildStatus, r.log())
	}
	if d := cmp.Diff(map[string]string{"deep/said": "one blue round clean\ntwice\n"}, unzipped(t, r.objects["out/made"])); d != "" {
		t.Error(d)
	}
	if len(b.ExportedEnvironmentVariables) != 1 || *b.ExportedEnvironmentVariables[0].Value != "one-done" {
		t.Errorf("exported %+v", b.ExportedEnvironmentVariables)
	}
	var order []string
	for _, p := range b.Phases {
		order = append(order, string(p.PhaseType))
		if p.PhaseType != types.BuildPhaseTypeCompleted && p.PhaseStatus != types.StatusTypeSucceeded {
			t.Errorf("phase %s: %s", p.PhaseType, p.PhaseStatus)
		}
	}
	if got := strings.Join(order, " "); got != "SUBMITTED QUEUED PROVISIONING DOWNLOAD_SOURCE INSTALL PRE_BUILD BUILD POST_BUILD UPLOAD_ARTIFACTS FINALIZING COMPLETED" {
		t.Error(got)
	}
	for _, want := range []string{"Entering phase BUILD", "finally", "after", "Phase complete: UPLOAD_ARTIFACTS State: SUCCEEDED"} {
		if !strings.Contains(r.log(), want) {
			t.Errorf("the log lacks %q:\n%s", want, r.log())
		}
	}
	if left, err := os.ReadDir(r.dir); err != nil || len(left) != 0 {
		t.Errorf("left in the folder of builds: %v, %v", left, err)
	}
}

// TestSecondaryArtifacts hands on several archives, and files that are not packed.
func TestSecondaryArtifacts(t *testing.T) {
	r := newRig(t)
	r.project(`
version: 0.2
phases: {build: {commands: ['echo 1 > one', 'mkdir d', 'echo 2 > d/two']}}
artifacts:
  files: [one]
  secondary-artifacts:
    Second: {files: ['d/*'], discard-paths: yes}
`, map[string]string{})
	b := r.await(*r.start(sdk.StartBuildInput{
		ArtifactsOverride: &types.ProjectArtifacts{Type: types.ArtifactsTypeNoArtifacts},
		SecondaryArtifactsOverride: []types.ProjectArtifacts{{
			Type: types.ArtifactsTypeS3, ArtifactIdentifier: new("Second"), Location: new("out"), Path: new("x"), Name: new("y"), Packaging: types.ArtifactPackagingZip,
		}},
	}).Id, complete)
	if b.BuildStatus != types.StatusTypeSucceeded || len(b.SecondaryArtifacts) != 1 {
		t.Fatalf("%s %+v\n%s", b.BuildStatus, b.SecondaryArtifacts, r.log())
	}
	if d := cmp.Diff(map[string]string{"two": "2\n"}, unzipped(t, r.objects["out/x/y"])); d != "" {
		t.Error(d)
	}
}

// TestFailures: each build fails in the phase that is to blame, with the reason.
func TestFailures(t *testing.T) {
	const good = "version: 0.2\nphases: {build: {commands: ['true']}}\n"
	for name, c := range map[string]struct {
		spec  string
		phase types.BuildPhaseType
		code  string
		text  string
		more  func(*rig)
	}{
		"command":          {"version: 0.2\nphases: {build: {commands: ['exit 3']}}", types.BuildPhaseTypeBuild, "COMMAND_EXECUTION_ERROR", "exit status 3", nil},
		"unknown program":  {"version: 0.2\nphases: {pre_build: {commands: [no-such-program]}, build: {commands: ['true']}}", types.BuildPhaseTypePreBuild, "COMMAND_EXECUTION_ERROR", "exit status 127", nil},
		"not YAML":         {"version: 0.2\n\tphases", types.BuildPhaseTypeDownloadSource, "YAML_FILE_ERROR", "YAML", nil},
		"no phases":        {"version: 0.2", types.BuildPhaseTypeDownloadSource, "YAML_FILE_ERROR", "at least one phase", nil},
		"another version":  {"version: 9\nphases: {build: {commands: ['true']}}", types.BuildPhaseTypeDownloadSource, "YAML_FILE_ERROR", "version", nil},
		"unknown runtime":  {"version: 0.2\nphases: {install: {runtime-versions: {cobol: 1}}, build: {commands: ['true']}}", types.BuildPhaseTypeInstall, "YAML_FILE_ERROR", "cobol", nil},
		"nothing to keep":  {good + "artifacts: {files: ['*.exe']}", types.BuildPhaseTypeUploadArtifacts, "CLIENT_ERROR", "no matching artifact paths", nil},
		"folder elsewhere": {good + "artifacts: {base-directory: ../.., files: ['**/*']}", types.BuildPhaseTypeUploadArtifacts, "CLIENT_ERROR", "leads out", nil},
		"no source":        {good, types.BuildPhaseTypeDownloadSource, "CLIENT_ERROR", "NoSuchKey", func(r *rig) { delete(r.objects, "in/source") }},
		"no upload": {good + "artifacts: {files: ['*']}", types.BuildPhaseTypeUploadArtifacts, "CLIENT_ERROR", "AccessDenied", func(r *rig) {
			r.refuse = func(in any) error {
				if _, ok := in.(*s3.PutObjectInput); ok {
					return wire.Errorf("AccessDenied", "no")
				}
				return nil
			}
		}},
		"source leads out": {good, types.BuildPhaseTypeDownloadSource, "CLIENT_ERROR", "leads out", func(r *rig) {
			r.objects["in/source"] = zipped(r.t, map[string]string{"../../x": "y", "buildspec.yml": good})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.project(c.spec, map[string]string{"f": "x"})
			if c.more != nil {
				c.more(r)
			}
			b := r.await(*r.start(sdk.StartBuildInput{}).Id, complete)
			p := phaseNamed(b, c.phase)
			if b.BuildStatus != types.StatusTypeFailed || p == nil || p.PhaseStatus != types.StatusTypeFailed {
				t.Fatalf("%s, phase %+v\n%s", b.BuildStatus, p, r.log())
			}
			if len(p.Contexts) != 1 || *p.Contexts[0].StatusCode != c.code || !strings.Contains(*p.Contexts[0].Message, c.text) {
				t.Errorf("context %+v", p.Contexts)
			}
		})
	}
}

// TestPostBuildRunsAfterAFailure knows of it, as does nothing after a failure
// of what comes before.
func TestPostBuildRunsAfterAFailure(t *testing.T) {
	r := newRig(t)
	r.project("version: 0.2\nphases: {build: {commands: ['false', 'echo not reached']}, post_build: {commands: ['echo post $CODEBUILD_BUILD_SUCCEEDING']}}", map[string]string{})
	r.await(*r.start(sdk.StartBuildInput{}).Id, complete)
	if log := r.log(); !strings.Contains(log, "\npost 0\n") || strings.Contains(log, "\nnot reached") {
		t.Error(log)
	}
}

// TestStop ends a build in the middle, and all that it has started.
func TestStop(t *testing.T) {
	r := newRig(t)
	pids := filepath.Join(t.TempDir(), "pids")
	r.project("version: 0.2\nphases:\n  build:\n    commands:\n      - sh -c 'sleep 600 & echo $! > "+pids+"; wait'\n", map[string]string{})
	b := r.start(sdk.StartBuildInput{})
	var pid int
	for deadline := time.Now().Add(time.Minute); pid == 0; {
		text, _ := os.ReadFile(pids)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		if time.Now().After(deadline) {
			t.Fatalf("the build has not begun:\n%s", r.log())
		}
	}
	if _, err := r.StopBuild(r.ctx, &sdk.StopBuildInput{Id: b.Id}); err != nil {
		t.Fatal(err)
	}
	if got := r.await(*b.Id, complete); got.BuildStatus != types.StatusTypeStopped || phaseNamed(got, types.BuildPhaseTypeBuild).PhaseStatus != types.StatusTypeStopped {
		t.Errorf("%s %+v", got.BuildStatus, got.Phases)
	}
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil && !zombie(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlives its build", pid)
		}
	}
}

// zombie tells whether a process has ended and nobody has asked how.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

// TestRestart: a build that a crash has cut off begins again, in a fresh folder.
func TestRestart(t *testing.T) {
	r := newRig(t)
	gate := filepath.Join(t.TempDir(), "gate")
	r.project("version: 0.2\nphases: {build: {commands: ['test ! -e leftover', 'touch leftover', 'while ! test -e "+gate+"; do sleep 0.02; done']}}", map[string]string{})
	b := r.start(sdk.StartBuildInput{})
	r.await(*b.Id, func(b types.Build) bool { return *b.CurrentPhase == string(types.BuildPhaseTypeBuild) })
	r.stop()
	r.boot()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := r.await(*b.Id, complete)
	// The project keeps artifacts that its buildspec does not name: only the build counts here.
	if p := phaseNamed(got, types.BuildPhaseTypeBuild); p.PhaseStatus != types.StatusTypeSucceeded {
		t.Errorf("%+v\n%s", p, r.log())
	}
	if !strings.Contains(r.log(), "begins again (attempt 2)") {
		t.Error(r.log())
	}
}

// TestTokens: the same token gives the same build, and a retry another.
func TestTokens(t *testing.T) {
	r := newRig(t)
	r.project("version: 0.2\nphases: {build: {commands: ['true']}}\nartifacts: {files: ['*']}", map[string]string{})
	first := r.start(sdk.StartBuildInput{IdempotencyToken: new("t")})
	if again := r.start(sdk.StartBuildInput{IdempotencyToken: new("t")}); *again.Id != *first.Id {
		t.Errorf("%s, then %s", *first.Id, *again.Id)
	}
	r.await(*first.Id, complete)
	retried, err := r.RetryBuild(r.ctx, &sdk.RetryBuildInput{Id: first.Arn})
	if err != nil || *retried.Build.Id == *first.Id || *retried.Build.BuildNumber != 2 {
		t.Fatalf("%+v, %v", retried, err)
	}
	r.await(*retried.Build.Id, complete)
	if _, err := r.DeleteProject(r.ctx, &sdk.DeleteProjectInput{Name: new("p1")}); err != nil {
		t.Fatal(err)
	}
	list, err := r.ListBuildsForProject(r.ctx, &sdk.ListBuildsForProjectInput{ProjectName: new("p1")})
	if err != nil || len(list.Ids) != 2 || list.Ids[0] != *retried.Build.Id {
		t.Fatalf("builds of a deleted project: %v, %v", list, err)
	}
	gone, err := r.BatchDeleteBuilds(r.ctx, &sdk.BatchDeleteBuildsInput{Ids: append(list.Ids, "p1:no")})
	if err != nil || len(gone.BuildsDeleted) != 2 || len(gone.BuildsNotDeleted) != 1 {
		t.Errorf("%+v, %v", gone, err)
	}
}
