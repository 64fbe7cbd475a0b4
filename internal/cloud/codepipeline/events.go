package codepipeline

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/wire"
)

// eventKind are the tasks that put a change of state on the default bus.
const eventKind = "codepipeline.event"

// A notice is an event on its way.
type notice struct {
	Region   string          `json:"region"`
	Resource string          `json:"resource"`
	What     string          `json:"what"` // the detail-type
	At       time.Time       `json:"at"`
	Detail   json.RawMessage `json:"detail"`
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
	return g.s.Tasks.Send(g.tx, event.Task{Kind: eventKind, Lane: arn, Body: encode(notice{
		Region: x.Region, Resource: arn, What: "CodePipeline " + what + " Execution State Change", At: g.now, Detail: encode(detail),
	})})
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

// announce puts an event on the default bus. It may arrive twice after a
// crash, as events may on AWS.
func (s *Service) announce(ctx context.Context, t event.Task) event.Result {
	var n notice
	if err := json.Unmarshal(t.Body, &n); err != nil {
		s.Log.Error("event of a pipeline cannot be read", "error", err)
		return event.Done()
	}
	as := wire.As{Region: n.Region, Principal: authz.ServicePrincipal("codepipeline", n.Resource, s.Account)}
	out, err := wire.Do[eventbridge.PutEventsOutput](ctx, s.Caller, as, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		Source: new("aws.codepipeline"), DetailType: &n.What, Detail: new(string(n.Detail)), Resources: []string{n.Resource}, Time: &n.At,
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = errors.New(*out.Entries[0].ErrorCode + ": " + *out.Entries[0].ErrorMessage)
	}
	if err == nil {
		return event.Done()
	}
	if t.Attempts >= 20 {
		s.Log.Error("event of a pipeline was refused", "pipeline", n.Resource, "error", err)
		return event.Done()
	}
	return event.Retry(time.Second << min(t.Attempts, 8))
}
