package codepipeline

import (
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/store"
)

// maxActive is how many executions of a pipeline in QUEUED or PARALLEL mode
// can be under way.
const maxActive = 50

// A passage is one change of a pipeline's executions within a transaction: all
// that follows from it at once is done before the transaction ends.
type passage struct {
	s     *Service
	tx    *store.Tx
	p     *pipeline
	now   time.Time
	open  map[string]*execution // read or made in this passage
	decls map[int32]types.PipelineDeclaration
	freed []string // stages whose gates may let in the next
}

// change runs f on a pipeline, lets follow what follows, and saves everything.
func (s *Service) change(tx *store.Tx, p *pipeline, f func(*passage) error) error {
	g := &passage{s: s, tx: tx, p: p, now: time.Now(), open: map[string]*execution{}, decls: map[int32]types.PipelineDeclaration{}}
	if err := f(g); err != nil {
		return err
	}
	for len(g.freed) > 0 {
		stage := g.freed[0]
		g.freed = g.freed[1:]
		if err := g.admit(stage); err != nil {
			return err
		}
	}
	for _, x := range g.open {
		if err := executions.Put(tx, x.key(), *x); err != nil {
			return err
		}
	}
	return s.save(tx, p)
}

// execution returns the passage's one copy of an execution.
func (g *passage) execution(id string) (*execution, error) {
	if x := g.open[id]; x != nil {
		return x, nil
	}
	x, err := loadExecution(g.tx, g.p.Region, g.p.Name, id)
	if err != nil {
		return nil, err
	}
	g.open[id] = &x
	return &x, nil
}

func (g *passage) declaration(version int32) (types.PipelineDeclaration, error) {
	d, ok := g.decls[version]
	if ok {
		return d, nil
	}
	d, err := declaration(g.tx, g.p.Region, g.p.Name, version)
	g.decls[version] = d
	return d, err
}

// add puts a new execution at the entrance of a stage.
func (g *passage) add(x execution, d types.PipelineDeclaration) (*execution, error) {
	if d.ExecutionMode != types.ExecutionModeSuperseded && g.p.Active >= maxActive {
		return nil, &types.ConcurrentPipelineExecutionsLimitExceededException{Message: new("The pipeline has reached the limit for concurrent pipeline executions: " + g.p.Name)}
	}
	g.p.Last++
	g.p.Active++
	x.ID, x.Seq, x.Region, x.Pipeline = uuid.NewString(), g.p.Last, g.p.Region, g.p.Name
	x.Version, x.Mode = *d.Version, d.ExecutionMode
	x.Status, x.Started, x.Updated = types.PipelineExecutionStatusInProgress, g.now, g.now
	x.Stages = make([]stageRun, len(d.Stages))
	g.decls[x.Version] = d
	g.open[x.ID] = &x
	if err := ids.Put(g.tx, idKey(x.Region, x.Pipeline, x.ID), x.Seq); err != nil {
		return nil, err
	}
	if err := g.tellPipeline(&x, "STARTED"); err != nil {
		return nil, err
	}
	return &x, g.advance(&x)
}

// begin makes an execution of a pipeline's structure d and sets it off.
func (s *Service) begin(tx *store.Tx, p *pipeline, d types.PipelineDeclaration, trigger types.ExecutionTrigger, vars []types.ResolvedPipelineVariable, override []types.SourceRevisionOverride) (id string, err error) {
	if vars == nil {
		for _, v := range d.Variables {
			if v.DefaultValue != nil {
				vars = append(vars, types.ResolvedPipelineVariable{Name: v.Name, ResolvedValue: v.DefaultValue})
			}
		}
	}
	err = s.change(tx, p, func(g *passage) error {
		x, err := g.add(execution{Kind: types.ExecutionTypeStandard, Trigger: trigger, Vars: vars, Override: override}, d)
		if err == nil {
			id = x.ID
		}
		return err
	})
	return id, err
}

// advance takes an execution as far as it can go now: it waits for actions, or
// before a stage, or is over.
func (g *passage) advance(x *execution) error {
	for !x.over() {
		d, err := g.declaration(x.Version)
		if err != nil {
			return err
		}
		if !x.Entered {
			if inside, err := g.enter(x, d.Stages[x.Stage]); err != nil || !inside {
				return err
			}
		}
		if moved, err := g.work(x, d); err != nil || !moved {
			return err
		}
	}
	return nil
}

// enter takes an execution into a stage, or leaves it waiting.
func (g *passage) enter(x *execution, st types.StageDeclaration) (inside bool, err error) {
	gt := g.p.gate(*st.Name)
	if x.Mode != types.ExecutionModeParallel {
		queued := x.Mode == types.ExecutionModeQueued && len(gt.Waiting) > 0 && gt.Waiting[0] != x.ID
		if gt.Closed != nil || gt.Holder != "" || queued {
			return false, g.wait(x, gt)
		}
		gt.leave(x.ID)
		gt.Holder = x.ID
	}
	return true, g.entered(x, gt, "STARTED")
}

func (g *passage) entered(x *execution, gt *gate, state string) error {
	x.Entered, gt.Latest = true, x.ID
	x.Stages[x.Stage].Status = types.StageExecutionStatusInProgress
	x.Updated = g.now
	return g.tellStage(x, state)
}

// wait has an execution wait before a stage. In SUPERSEDED mode it takes the
// place of an older one.
func (g *passage) wait(x *execution, gt *gate) error {
	if slices.Contains(gt.Waiting, x.ID) {
		return nil
	}
	if x.Mode == types.ExecutionModeSuperseded {
		for _, id := range gt.Waiting {
			older, err := g.execution(id)
			if err != nil {
				return err
			}
			older.Summary = new("Superseded by execution " + x.ID)
			if err := g.conclude(older, types.PipelineExecutionStatusSuperseded, "SUPERSEDED"); err != nil {
				return err
			}
		}
		gt.Waiting = nil
	}
	gt.Waiting = append(gt.Waiting, x.ID)
	return nil
}

// admit lets the next waiting execution into a stage that became free.
func (g *passage) admit(stage string) error {
	gt := g.p.gate(stage)
	if len(gt.Waiting) == 0 || gt.Holder != "" || gt.Closed != nil {
		return nil
	}
	x, err := g.execution(gt.Waiting[0])
	if err != nil {
		return err
	}
	return g.advance(x)
}
