// Package codepipeline is CodePipeline: pipelines of stages and actions that
// hand on artifacts.
//
// A pipeline's declaration is checked once, when it is made (declare.go), and
// kept by version. An execution is one stored row that is driven by tasks: the
// engine (engine.go, stage.go) decides within a transaction what follows from
// the row, and every action that is to run is a durable task of its own
// (action.go), carried out by its provider (source.go, build.go, deploy.go,
// invoke.go, approval.go) in the role of the pipeline.
//
// https://docs.aws.amazon.com/codepipeline/latest/APIReference/Welcome.html
package codepipeline

import (
	"context"
	"encoding/base64"
	"log/slog"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Caller  wire.Caller
	Signals *event.Signals
	Log     *slog.Logger
	Account string
	// Archive zips the tree of a commit for a CodeCommit source action; it
	// judges codecommit:UploadArchive for as, an action that AWS's API lists
	// in policies only. nil: there is no CodeCommit.
	Archive func(ctx context.Context, as wire.As, repository, commit string) (zip []byte, err error)
}

// A Service serves all regions.
type Service struct {
	Options
	providers []*provider
}

// New makes the service.
func New(o Options) *Service {
	if o.Archive == nil {
		o.Archive = func(_ context.Context, _ wire.As, repository, _ string) ([]byte, error) {
			return nil, wire.Errorf("RepositoryDoesNotExistException", "%s does not exist: there is no CodeCommit", repository)
		}
	}
	return &Service{Options: o, providers: providers()}
}

// Register adds the operations and task handlers.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{Service: "codepipeline", Protocol: wire.JSON11, Target: "CodePipeline_20150709", LowerFirst: true})
	s.registerPipelines(api)
	s.registerTags(api)
	s.registerExecutions(api)
	s.registerControl(api)
	s.registerState(api)
	s.registerJobs(api)
	// A worker is held for as long as its action runs elsewhere, hence so many.
	q.Handle(actionKind, 256, s.act)
	q.Handle(deadlineKind, 8, s.expire)
	s.notices().Register(q)
	q.Handle(pollKind, 4, s.poll)
}

// Rules that several operations share.
const (
	nameRule  = ` 1..100 [A-Za-z0-9.@\-_]+`
	idRule    = ` [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
	tokenRule = "NextToken 1..2048"
	roleRule  = ` 0..1024 arn:aws(-[\w]+)*:iam::[0-9]{12}:role/.*`
)

// arn is the ARN of a pipeline.
func (s *Service) arn(region, name string) string {
	return "arn:aws:codepipeline:" + region + ":" + s.Account + ":" + name
}

// on judges an operation on the pipeline, stage or action that its input names.
func on[In any](of func(*In) []*string) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string {
		var parts []string
		for _, p := range of(in) {
			if p != nil {
				parts = append(parts, *p)
			}
		}
		return []string{c.ARN("codepipeline", strings.Join(parts, "/"))}
	})
}

func (s *Service) noPipeline(name string) error {
	return &types.PipelineNotFoundException{Message: new("Account '" + s.Account + "' does not have a pipeline with name '" + name + "'")}
}

func noExecution(pipeline, id string) error {
	return &types.PipelineExecutionNotFoundException{Message: new("Pipeline '" + pipeline + "' does not have an execution with id '" + id + "'")}
}

func noStage(pipeline, stage string) error {
	return &types.StageNotFoundException{Message: new("Pipeline '" + pipeline + "' does not have a stage with name '" + stage + "'")}
}

func invalid(text string) error { return &types.ValidationException{Message: &text} }

// page cuts a list to what fits and makes the token with which it goes on:
// the key of the last item, bound to the list it belongs to.
func page[T any](all []T, limit *int32, most int, list string, key func(T) string) ([]T, *string) {
	n := most
	if limit != nil && *limit > 0 {
		n = min(int(*limit), most)
	}
	if len(all) <= n {
		return all, nil
	}
	return all[:n], new(base64.RawURLEncoding.EncodeToString([]byte(list + "\x00" + key(all[n-1]))))
}

// after reads a token of [page] back into the key after which a list goes on.
func after(token *string, list string) (string, error) {
	if token == nil {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*token)
	key, mine := strings.CutPrefix(string(b), list+"\x00")
	if err != nil || !mine {
		return "", &types.InvalidNextTokenException{Message: new("The next token '" + *token + "' is not valid for this list.")}
	}
	return key, nil
}
