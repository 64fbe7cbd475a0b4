package codepipeline

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"pgregory.net/rapid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// nobody takes tasks and does none: the test itself ends runs, in any order.
type nobody struct{}

func (nobody) Send(*store.Tx, event.Task) error             { return nil }
func (nobody) Finish(_ *store.Tx, _ string, _ string) error { return nil }

// TestExecutionsNeverCollideNorHang does random things to a pipeline and looks
// after each whether stages hold one execution, and everything that is not over
// can still go on.
func TestExecutionsNeverCollideNorHang(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := New(Options{DB: store.Memory(), Tasks: nobody{}, Signals: &event.Signals{}, Log: slog.New(slog.DiscardHandler), Account: account})
		ctx := wire.WithCall(t.Context(), &wire.Call{Service: "codepipeline", Region: region, Account: account, Principal: authz.Principal{ARN: "ann"}})
		d := shop()
		d.ExecutionMode = rapid.SampledFrom(types.ExecutionMode("").Values()).Draw(rt, "mode")
		later := build("later")
		later.RunOrder = new(int32(2))
		d.Stages[1].Actions = append(d.Stages[1].Actions, build("lint"), later)
		if rapid.Bool().Draw(rt, "retries") {
			d.Stages[1].OnFailure = &types.FailureConditions{Result: types.ResultRetry}
		}
		if rapid.Bool().Draw(rt, "rolls back") {
			d.Stages[2].OnFailure = &types.FailureConditions{Result: types.ResultRollback}
		}
		complete(d)
		d.Version = new(int32(1))
		if err := s.check(region, d); err != nil {
			rt.Fatal(err)
		}
		must(0, s.DB.Update(ctx, func(tx *store.Tx) error {
			p := pipeline{Name: "shop", Region: region, Version: 1}
			must(0, versions.Put(tx, versionKey(region, "shop", 1), *d))
			_, err := s.begin(tx, &p, *d, types.ExecutionTrigger{}, nil, nil)
			return err
		}))
		stages := rapid.SampledFrom([]string{"Source", "Build", "Deploy"})
		rt.Repeat(map[string]func(*rapid.T){
			"start": func(*rapid.T) {
				_, _ = s.StartPipelineExecution(ctx, &sdk.StartPipelineExecutionInput{Name: new("shop")})
			},
			"end a run": func(rt *rapid.T) {
				if refs := s.underWay(); len(refs) > 0 {
					well := rapid.Bool().Draw(rt, "well")
					must(0, s.settle(ctx, refs[rapid.IntRange(0, len(refs)-1).Draw(rt, "run")], func(r *run) {
						if r.succeed(outcome{}); !well {
							r.fail(jobFailed, "no")
						}
					}))
				}
			},
			"stop": func(rt *rapid.T) {
				id := s.any(rt)
				_, _ = s.StopPipelineExecution(ctx, &sdk.StopPipelineExecutionInput{PipelineName: new("shop"), PipelineExecutionId: id, Abandon: rapid.Bool().Draw(rt, "abandon")})
			},
			"retry": func(rt *rapid.T) {
				id := s.any(rt)
				_, _ = s.RetryStageExecution(ctx, &sdk.RetryStageExecutionInput{PipelineName: new("shop"), PipelineExecutionId: id, StageName: new(stages.Draw(rt, "stage")), RetryMode: rapid.SampledFrom(types.StageRetryMode("").Values()).Draw(rt, "mode")})
			},
			"roll back": func(rt *rapid.T) {
				id := s.any(rt)
				_, _ = s.RollbackStage(ctx, &sdk.RollbackStageInput{PipelineName: new("shop"), TargetPipelineExecutionId: id, StageName: new(stages.Draw(rt, "stage"))})
			},
			"close": func(rt *rapid.T) {
				_, _ = s.DisableStageTransition(ctx, &sdk.DisableStageTransitionInput{PipelineName: new("shop"), StageName: new(stages.Draw(rt, "stage")), TransitionType: types.StageTransitionTypeInbound, Reason: new("r")})
			},
			"open": func(rt *rapid.T) {
				_, _ = s.EnableStageTransition(ctx, &sdk.EnableStageTransitionInput{PipelineName: new("shop"), StageName: new(stages.Draw(rt, "stage")), TransitionType: types.StageTransitionTypeInbound})
			},
			"": func(rt *rapid.T) {
				if problem := s.consistent(d); problem != "" {
					rt.Fatal(problem)
				}
			},
		})
	})
}

func (s *Service) every() (all []execution) {
	must(0, s.DB.View(func(tx *store.Tx) error {
		for r, err := range executions.Range(tx, "", "") {
			all = append(all, must(r.Value, err))
		}
		return nil
	}))
	return all
}

// any draws an execution, by its number.
func (s *Service) any(rt *rapid.T) *string {
	all := s.every()
	return &all[rapid.IntRange(0, len(all)-1).Draw(rt, "execution")].ID
}

func (s *Service) underWay() (refs []runRef) {
	for _, x := range s.every() {
		for _, r := range x.Runs {
			if r.Status == types.ActionExecutionStatusInProgress {
				refs = append(refs, runRef{x.Region, x.Pipeline, x.ID, r.ID})
			}
		}
	}
	return refs
}

// consistent returns what is wrong with a pipeline's rows.
func (s *Service) consistent(d *types.PipelineDeclaration) string {
	var p pipeline
	must(0, s.DB.View(func(tx *store.Tx) (err error) { p, err = s.load(tx, region, "shop"); return err }))
	active, inside := 0, map[string][]string{}
	for _, x := range s.every() {
		busy := slices.ContainsFunc(x.Runs, func(r run) bool { return r.Status == types.ActionExecutionStatusInProgress })
		if x.over() {
			if busy {
				return x.ID + " is over, but an action runs"
			}
			continue
		}
		active++
		name := *d.Stages[x.Stage].Name
		g := p.gate(name)
		switch waits := slices.Contains(g.Waiting, x.ID); {
		case x.Entered && waits:
			return x.ID + " is in a stage for which it waits"
		case x.Entered && !busy:
			return x.ID + " is in a stage where nothing runs"
		case !x.Entered && busy:
			return x.ID + " waits, but an action runs"
		case !x.Entered && !waits:
			return x.ID + " is nowhere"
		case waits && g.Closed == nil && g.Holder == "":
			return x.ID + " waits before a free stage"
		}
		if x.Entered {
			inside[name] = append(inside[name], x.ID)
		}
	}
	if active != p.Active {
		return fmt.Sprintf("%d executions are under way, %d are counted", active, p.Active)
	}
	for name, g := range p.Gates {
		waiting := slices.Compact(slices.Sorted(slices.Values(g.Waiting)))
		if len(waiting) != len(g.Waiting) || d.ExecutionMode == types.ExecutionModeSuperseded && len(waiting) > 1 {
			return fmt.Sprintf("%d executions wait before %s", len(g.Waiting), name)
		}
		if d.ExecutionMode == types.ExecutionModeParallel {
			continue
		}
		if len(inside[name]) > 1 || len(inside[name]) == 1 && inside[name][0] != g.Holder || len(inside[name]) == 0 && g.Holder != "" {
			return fmt.Sprintf("%v are in %s, which %q holds", inside[name], name, g.Holder)
		}
	}
	return ""
}
