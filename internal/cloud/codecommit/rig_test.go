package codecommit

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/smithy-go"
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
	secret  = "a secret"
)

// A rig is the service on a memory store, with EventBridge, credentials and
// authorisation played by a few fields.
type rig struct {
	*Service
	wire.Caller
	ctx context.Context

	mu     sync.Mutex
	events []string // details
	told   chan struct{}
	denied string // an action
}

func newRig(t testing.TB) *rig {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db := store.Memory()
	q := event.NewQueue(db, log)
	r := &rig{told: make(chan struct{}, 100)}
	r.Service = New(Options{DB: db, Tasks: q, Caller: r, Log: log, Account: account, Credential: r.credential, Authorize: r.authorize})
	r.Register(wire.NewMux(wire.Options{Account: account}), q)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- q.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r.ctx = wire.WithCall(t.Context(), &wire.Call{Service: "codecommit", Region: region, Account: account, Endpoint: "http://127.0.0.1:1", Principal: authz.Principal{Type: authz.User, ARN: "arn:aws:iam::123456789012:user/ann"}})
	return r
}

func (r *rig) credential(_ context.Context, id, token string) (wire.Credential, error) {
	if id != "AKANN" || token != "" {
		return wire.Credential{}, wire.ErrUnknownKey
	}
	return wire.Credential{Secret: secret, Principal: authz.Principal{Type: authz.User, ARN: "arn:aws:iam::123456789012:user/ann"}}, nil
}

func (r *rig) authorize(_ context.Context, _ authz.Principal, _ string, a authz.Access) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.Action == r.denied {
		return errors.New("denied")
	}
	return nil
}

func (r *rig) Call(_ context.Context, as wire.As, in any) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := in.(*eventbridge.PutEventsInput).Entries[0]
	r.events = append(r.events, as.Principal.Service+" "+*e.Detail)
	r.told <- struct{}{}
	return &eventbridge.PutEventsOutput{}, nil
}

func (r *rig) serve(t *testing.T) (url string) {
	t.Helper()
	server := httptest.NewServer(handler{r.Service})
	t.Cleanup(server.Close)
	return server.URL
}

func (r *rig) repository(t testing.TB, name string) {
	t.Helper()
	must(t)(r.CreateRepository(r.ctx, &sdk.CreateRepositoryInput{RepositoryName: &name}))
}

// put commits files to main, on its tip.
func (r *rig) put(t testing.TB, repository string, files map[string]string, remove ...string) string {
	t.Helper()
	in := &sdk.CreateCommitInput{RepositoryName: &repository, BranchName: new("main"), CommitMessage: new("change")}
	if b, err := r.GetBranch(r.ctx, &sdk.GetBranchInput{RepositoryName: &repository, BranchName: new("main")}); err == nil {
		in.ParentCommitId = b.Branch.CommitId
	}
	for p, text := range files {
		in.PutFiles = append(in.PutFiles, types.PutFileEntry{FilePath: &p, FileContent: []byte(text)})
	}
	for _, p := range remove {
		in.DeleteFiles = append(in.DeleteFiles, types.DeleteFileEntry{FilePath: &p})
	}
	out, err := r.CreateCommit(r.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.CommitId
}

func must(t testing.TB) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("error %v, want %s", err, code)
	}
}
