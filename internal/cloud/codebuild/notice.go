package codebuild

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// eventKind are the tasks that put a change of a build on the default bus.
const eventKind = "codebuild.event"

// A notice is an event on its way.
type notice struct {
	Region   string          `json:"region"`
	Resource string          `json:"resource"`
	At       time.Time       `json:"at"`
	Detail   json.RawMessage `json:"detail"`
}

// tell announces a change of a build's status.
// https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html
func (s *Service) tell(tx *store.Tx, b *build) error {
	detail, err := json.Marshal(map[string]any{
		"build-status": b.BuildStatus, "project-name": b.ProjectName, "build-id": b.Arn, "current-phase": b.CurrentPhase, "version": "1",
		"additional-information": map[string]any{"build-complete": b.BuildComplete, "initiator": b.Initiator, "build-number": b.BuildNumber, "build-start-time": b.StartTime},
	})
	if err != nil {
		return err
	}
	body, err := json.Marshal(notice{Region: b.Region, Resource: *b.Arn, At: time.Now(), Detail: detail})
	if err != nil {
		return err
	}
	return s.Tasks.Send(tx, event.Task{Kind: eventKind, Lane: *b.Arn, Body: body})
}

// announce puts an event on the default bus. It may arrive twice after a
// crash, as events may on AWS.
func (s *Service) announce(ctx context.Context, t event.Task) event.Result {
	var n notice
	if err := json.Unmarshal(t.Body, &n); err != nil {
		s.Log.Error("event of a build cannot be read", "error", err)
		return event.Done()
	}
	as := wire.As{Region: n.Region, Principal: authz.ServicePrincipal("codebuild", n.Resource, s.Account)}
	out, err := wire.Do[eventbridge.PutEventsOutput](ctx, s.Caller, as, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		Source: new("aws.codebuild"), DetailType: new("CodeBuild Build State Change"), Detail: new(string(n.Detail)), Resources: []string{n.Resource}, Time: &n.At,
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = errors.New(*out.Entries[0].ErrorCode + ": " + *out.Entries[0].ErrorMessage)
	}
	if err == nil {
		return event.Done()
	}
	if t.Attempts >= 20 {
		s.Log.Error("event of a build was refused", "build", n.Resource, "error", err)
		return event.Done()
	}
	return event.Retry(time.Second << min(t.Attempts, 8))
}
