package codepipeline

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/cloud/store"
)

// Tables. A pipeline is keyed by region/name; what belongs to it by that, NUL
// and more: a version, an execution's sequence number, an execution's id, a
// request token.
const (
	pipelines  = store.Table[pipeline]("codepipeline.pipelines")
	versions   = store.Table[types.PipelineDeclaration]("codepipeline.versions")
	executions = store.Table[execution]("codepipeline.executions")
	ids        = store.Table[int64]("codepipeline.ids")
	requests   = store.Table[string]("codepipeline.requests")
)

// A pipeline is what changes about one: its versions and executions are rows of their own.
type pipeline struct {
	Name    string            `json:"name"`
	Region  string            `json:"region"`
	Created time.Time         `json:"created"`
	Updated time.Time         `json:"updated"`
	Version int32             `json:"version"`
	Tags    map[string]string `json:"tags,omitempty"`
	Last    int64             `json:"last"` // sequence number of the newest execution
	// Active counts the executions that have not ended.
	Active int `json:"active"`
	// Seen are the newest revisions that polls found, by source action.
	Seen map[string]string `json:"seen,omitempty"`
	// Gates are the ways into the stages, by name.
	Gates map[string]*gate `json:"gates,omitempty"`
}

// A gate is the way into a stage: outside of PARALLEL mode it lets in one
// execution at a time.
type gate struct {
	Holder  string            `json:"holder,omitempty"`  // the execution that is in the stage
	Waiting []string          `json:"waiting,omitempty"` // in order of arrival
	Closed  *closing          `json:"closed,omitempty"`
	Changed *closing          `json:"changed,omitempty"` // the last change of the transition, either way
	Latest  string            `json:"latest,omitempty"`  // the execution that entered last
	Runs    map[string]runRef `json:"runs,omitempty"`    // the newest run of each action
}

// A closing is a change of a stage's inbound transition.
type closing struct {
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// A runRef finds one run.
type runRef struct {
	Region    string `json:"region"`
	Pipeline  string `json:"pipeline"`
	Execution string `json:"execution"`
	Run       string `json:"run"`
}

func pipelineKey(region, name string) string { return region + "/" + name }

func versionKey(region, name string, v int32) string {
	return fmt.Sprintf("%s\x00%010d", pipelineKey(region, name), v)
}

func executionKey(region, name string, seq int64) string {
	return fmt.Sprintf("%s\x00%016d", pipelineKey(region, name), seq)
}

func idKey(region, name, id string) string { return pipelineKey(region, name) + "\x00" + id }

// gate returns the way into a stage, made at its first use.
func (p *pipeline) gate(stage string) *gate {
	if p.Gates == nil {
		p.Gates = map[string]*gate{}
	}
	g := p.Gates[stage]
	if g == nil {
		g = &gate{}
		p.Gates[stage] = g
	}
	return g
}

func (g *gate) leave(id string) {
	g.Waiting = slices.DeleteFunc(g.Waiting, func(w string) bool { return w == id })
	if g.Holder == id {
		g.Holder = ""
	}
}

// How an execution is to stop.
type stopping string

const (
	stopAfter stopping = "wait"    // actions in progress end first
	stopNow   stopping = "abandon" // they are left behind
)

// An execution is one passage of revisions through a pipeline, in the
// structure that the pipeline had when it began.
type execution struct {
	ID       string                           `json:"id"`
	Region   string                           `json:"region"`
	Pipeline string                           `json:"pipeline"`
	Seq      int64                            `json:"seq"`
	Version  int32                            `json:"version"`
	Mode     types.ExecutionMode              `json:"mode"`
	Kind     types.ExecutionType              `json:"kind"`
	Target   string                           `json:"target,omitempty"` // what a rollback goes back to
	Status   types.PipelineExecutionStatus    `json:"status"`
	Summary  *string                          `json:"summary,omitempty"`
	Started  time.Time                        `json:"started"`
	Updated  time.Time                        `json:"updated"`
	Trigger  types.ExecutionTrigger           `json:"trigger"`
	Stopping stopping                         `json:"stopping,omitempty"`
	Reason   *string                          `json:"reason,omitempty"` // of the stop
	Vars     []types.ResolvedPipelineVariable `json:"vars,omitempty"`
	Override []types.SourceRevisionOverride   `json:"override,omitempty"`

	Stage   int        `json:"stage"`   // the stage it is in, waits for, or ended in
	Entered bool       `json:"entered"` // false: it waits
	Stages  []stageRun `json:"stages"`  // one for each stage of the declaration
	Runs    []run      `json:"runs"`    // of actions, oldest first, retried ones included
	// Inherited are the runs of the target of a rollback, whose artifacts and
	// variables the stage needs.
	Inherited []run `json:"inherited,omitempty"`
}

// A stageRun is a stage in one execution; no status: not reached.
type stageRun struct {
	Status types.StageExecutionStatus `json:"status,omitempty"`
	Manual int32                      `json:"manual,omitempty"` // retries asked for
	Auto   int32                      `json:"auto,omitempty"`   // retries by onFailure
	Retry  types.RetryTrigger         `json:"retry,omitempty"`  // what the last retry was
}

// A run is one try of an action.
type run struct {
	ID      string                      `json:"id"`
	Stage   string                      `json:"stage"`
	Action  string                      `json:"action"`
	Type    types.ActionTypeId          `json:"type"`
	Status  types.ActionExecutionStatus `json:"status"`
	Started time.Time                   `json:"started"`
	Updated time.Time                   `json:"updated"`
	Retired bool                        `json:"retired,omitempty"` // a retry takes its place

	Role      string                  `json:"role"`
	Namespace string                  `json:"namespace,omitempty"`
	Config    map[string]string       `json:"config,omitempty"`
	Resolved  map[string]string       `json:"resolved,omitempty"` // Config with variables replaced
	Inputs    []types.ArtifactDetail  `json:"inputs,omitempty"`
	Outputs   []types.ArtifactDetail  `json:"outputs,omitempty"` // where they are, or will be
	Vars      map[string]string       `json:"vars,omitempty"`    // output variables
	Revision  *types.ArtifactRevision `json:"revision,omitempty"`

	External string              `json:"external,omitempty"` // id at the provider: a build's
	URL      string              `json:"url,omitempty"`
	Logs     string              `json:"logs,omitempty"`
	Summary  string              `json:"summary,omitempty"`
	Percent  *int32              `json:"percent,omitempty"`
	Error    *types.ErrorDetails `json:"error,omitempty"`
	Token    string              `json:"token,omitempty"` // of an approval
	By       string              `json:"by,omitempty"`    // who settled it
	// Memo is the provider's own: what it must know after a restart.
	Memo map[string]string `json:"memo,omitempty"`
	// Faults counts tries that ended in a fault of a service.
	Faults int `json:"faults,omitempty"`
}

func (x *execution) key() string { return executionKey(x.Region, x.Pipeline, x.Seq) }

// over tells whether nothing but a retry can change an execution's status.
func (x *execution) over() bool {
	return x.Status != types.PipelineExecutionStatusInProgress && x.Status != types.PipelineExecutionStatusStopping
}

func (x *execution) run(id string) *run {
	for i := range x.Runs {
		if x.Runs[i].ID == id {
			return &x.Runs[i]
		}
	}
	return nil
}

// current is the run of an action that counts: the newest that no retry replaces.
func (x *execution) current(stage, action string) *run {
	for i := range slices.Backward(x.Runs) {
		if r := &x.Runs[i]; r.Stage == stage && r.Action == action && !r.Retired {
			return r
		}
	}
	return nil
}

// succeeded yields the runs whose results are to be had, newest first.
func (x *execution) succeeded(yield func(*run) bool) {
	for _, runs := range [][]run{x.Runs, x.Inherited} {
		for i := range slices.Backward(runs) {
			if runs[i].Status == types.ActionExecutionStatusSucceeded && !yield(&runs[i]) {
				return
			}
		}
	}
}

// artifact finds where an artifact was put.
func (x *execution) artifact(name string) (found types.ArtifactDetail, ok bool) {
	for r := range x.succeeded {
		for _, a := range r.Outputs {
			if *a.Name == name {
				return a, true
			}
		}
	}
	return found, false
}

func (s *Service) load(tx *store.Tx, region, name string) (pipeline, error) {
	p, ok, err := pipelines.Get(tx, pipelineKey(region, name))
	if err == nil && !ok {
		err = s.noPipeline(name)
	}
	return p, err
}

// execution finds one by its id.
func loadExecution(tx *store.Tx, region, name, id string) (x execution, err error) {
	seq, ok, err := ids.Get(tx, idKey(region, name, id))
	if err == nil && ok {
		x, ok, err = executions.Get(tx, executionKey(region, name, seq))
	}
	if err == nil && !ok {
		err = noExecution(name, id)
	}
	return x, err
}

func declaration(tx *store.Tx, region, name string, version int32) (types.PipelineDeclaration, error) {
	d, ok, err := versions.Get(tx, versionKey(region, name, version))
	if err == nil && !ok {
		err = fmt.Errorf("read pipeline %s: version %d is missing", name, version)
	}
	return d, err
}
