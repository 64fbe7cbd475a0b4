package codebuild

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	sdk "github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"go.uber.org/goleak"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "123456789012"
	region  = "us-east-1"
	roleARN = "arn:aws:iam::123456789012:role/build"
)

// A rig is the service with real processes, and the rest of the cloud played
// by a few maps.
type rig struct {
	*Service
	wire.Caller
	t    *testing.T
	ctx  context.Context
	db   store.DB
	dir  string
	stop func()

	mu      sync.Mutex
	objects map[string][]byte // bucket/key
	lines   []string
	events  []string
	refuse  func(in any) error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, db: store.Memory(), dir: t.TempDir(), objects: map[string][]byte{}}
	r.ctx = wire.WithCall(t.Context(), &wire.Call{Service: "codebuild", Region: region, Account: account, AccessKeyID: "AK", Principal: authz.Principal{Type: authz.User, ARN: "arn:aws:iam::123456789012:user/ann"}})
	r.boot()
	t.Cleanup(func() { r.stop() })
	return r
}

// boot starts the service on what is stored, as a new process does.
func (r *rig) boot() {
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(r.db, log)
	r.Service = New(Options{DB: r.db, Tasks: q, Caller: r, Log: log, Account: account, Dir: r.dir, Endpoint: func() (string, error) { return "http://127.0.0.1:1", nil }})
	r.Register(wire.NewMux(wire.Options{Account: account}), q)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	done := make(chan error)
	go func() { done <- q.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

func (r *rig) Call(_ context.Context, as wire.As, in any) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if err := r.refuse(in); err != nil {
			return nil, err
		}
	}
	switch in := in.(type) {
	case *sts.AssumeRoleInput:
		return &sts.AssumeRoleOutput{
			AssumedRoleUser: &ststypes.AssumedRoleUser{Arn: new("arn:aws:sts::" + account + ":assumed-role/build/" + *in.RoleSessionName), AssumedRoleId: new("AROA:s")},
			Credentials:     &ststypes.Credentials{AccessKeyId: new("AKROLE"), SecretAccessKey: new("SK"), SessionToken: new("ST")},
		}, nil
	case *eventbridge.PutEventsInput:
		r.events = append(r.events, *in.Entries[0].Detail)
		return &eventbridge.PutEventsOutput{}, nil
	}
	if as.Principal.RoleARN != roleARN {
		return nil, fmt.Errorf("%T called as %+v", in, as.Principal)
	}
	switch in := in.(type) {
	case *cloudwatchlogs.CreateLogStreamInput:
		return &cloudwatchlogs.CreateLogStreamOutput{}, nil
	case *cloudwatchlogs.PutLogEventsInput:
		for _, e := range in.LogEvents {
			r.lines = append(r.lines, *e.Message)
		}
		return &cloudwatchlogs.PutLogEventsOutput{}, nil
	case *s3.PutObjectInput:
		b, err := io.ReadAll(in.Body)
		r.objects[*in.Bucket+"/"+*in.Key] = b
		return &s3.PutObjectOutput{}, err
	case *s3.GetObjectInput:
		b, ok := r.objects[*in.Bucket+"/"+*in.Key]
		if !ok {
			return nil, wire.Errorf("NoSuchKey", "The specified key does not exist.")
		}
		return &s3.GetObjectOutput{Body: io.NopCloser(bytes.NewReader(b))}, nil
	}
	return nil, fmt.Errorf("unexpected call %T", in)
}

// project makes a project whose source is the given files in S3.
func (r *rig) project(spec string, files map[string]string) {
	r.t.Helper()
	files["buildspec.yml"] = spec
	r.mu.Lock()
	r.objects["in/source"] = zipped(r.t, files)
	r.mu.Unlock()
	_, err := r.CreateProject(r.ctx, &sdk.CreateProjectInput{
		Name: new("p1"), ServiceRole: new(roleARN), Source: &types.ProjectSource{Type: types.SourceTypeS3, Location: new("in/source")},
		Artifacts:   &types.ProjectArtifacts{Type: types.ArtifactsTypeS3, Location: new("out"), Packaging: types.ArtifactPackagingZip, Name: new("made")},
		Environment: &types.ProjectEnvironment{Type: types.EnvironmentTypeLinuxContainer, Image: new("i"), ComputeType: types.ComputeTypeBuildGeneral1Small},
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unzipped(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range z.File {
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name] = string(text)
	}
	return all
}

func (r *rig) start(in sdk.StartBuildInput) types.Build {
	r.t.Helper()
	in.ProjectName = new("p1")
	out, err := r.StartBuild(r.ctx, &in)
	if err != nil {
		r.t.Fatal(err)
	}
	return *out.Build
}

// await waits until a build is as wanted.
func (r *rig) await(id string, done func(types.Build) bool) types.Build {
	r.t.Helper()
	changed, cancel := r.Signals.Subscribe("arn:aws:codebuild:" + region + ":" + account + ":build/" + id)
	defer cancel()
	late := time.After(time.Minute)
	for {
		out, err := r.BatchGetBuilds(r.ctx, &sdk.BatchGetBuildsInput{Ids: []string{id}})
		if err != nil || len(out.Builds) != 1 {
			r.t.Fatalf("%+v, %v", out, err)
		}
		if done(out.Builds[0]) {
			return out.Builds[0]
		}
		select {
		case <-changed:
		case <-late:
			r.t.Fatalf("the build is at %s after a minute", *out.Builds[0].CurrentPhase)
		}
	}
}

func complete(b types.Build) bool { return b.BuildComplete }

func phaseNamed(b types.Build, kind types.BuildPhaseType) *types.BuildPhase {
	for i := range b.Phases {
		if b.Phases[i].PhaseType == kind {
			return &b.Phases[i]
		}
	}
	return nil
}

func (r *rig) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}
