package codepipeline

import (
	"encoding/json"
	"maps"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/cloud/event/notice"
)

func (s *Service) notices() *notice.Sender {
	return &notice.Sender{Service: "codepipeline", Tasks: s.Tasks, Caller: s.Caller, Log: s.Log, Account: s.Account}
}

// encode is for values that cannot fail to marshal.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("codepipeline: " + err.Error())
	}
	return b
}

// tell sends a change of state to whoever has a rule for it; events of one
// pipeline keep their order.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
func (g *passage) tell(x *execution, what, state string, more map[string]any) error {
	detail := map[string]any{
		"pipeline": x.Pipeline, "execution-id": x.ID, "version": x.Version, "state": state, "start-time": x.Started.UTC().Format("2006-01-02T15:04:05.000Z"),
		"execution-trigger": map[string]any{"trigger-type": x.Trigger.TriggerType, "trigger-detail": x.Trigger.TriggerDetail},
	}
	maps.Copy(detail, more)
	arn := g.s.arn(x.Region, x.Pipeline)
	return g.s.notices().Send(g.tx, x.Region, arn, "CodePipeline "+what+" Execution State Change", detail)
}

func (g *passage) tellPipeline(x *execution, state string) error {
	more := map[string]any{}
	if x.Kind == types.ExecutionTypeRollback {
		more["execution-type"], more["rollback-target-execution-id"] = x.Kind, x.Target
	}
	if x.Reason != nil && x.Stopping != "" {
		more["stop-execution-comments"] = *x.Reason
	}
	return g.tell(x, "Pipeline", state, more)
}

func (g *passage) tellStage(x *execution, state string) error {
	d, err := g.declaration(x.Version)
	if err != nil {
		return err
	}
	return g.tell(x, "Stage", state, map[string]any{"stage": d.Stages[x.Stage].Name})
}

func (g *passage) tellAction(x *execution, r *run, state string) error {
	more := map[string]any{
		"stage": r.Stage, "action": r.Action, "action-execution-id": r.ID, "region": x.Region, "start-time": r.Started.UTC().Format("2006-01-02T15:04:05.000Z"),
		"type":            map[string]any{"owner": r.Type.Owner, "category": r.Type.Category, "provider": r.Type.Provider, "version": r.Type.Version},
		"input-artifacts": located(r.Inputs),
	}
	if state != "STARTED" {
		more["output-artifacts"] = located(r.Outputs)
		result := map[string]any{"external-execution-url": r.URL, "external-execution-summary": r.Summary, "external-execution-id": r.External}
		if r.Error != nil {
			result["error-code"] = r.Error.Code
		}
		more["execution-result"] = result
	}
	return g.tell(x, "Action", state, more)
}

func located(all []types.ArtifactDetail) []map[string]any {
	out := []map[string]any{}
	for _, a := range all {
		out = append(out, map[string]any{"name": a.Name, "s3location": map[string]any{"bucket": a.S3location.Bucket, "key": a.S3location.Key}})
	}
	return out
}
