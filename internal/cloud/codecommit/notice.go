package codecommit

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

// eventKind are the tasks that put a change of a reference on the default bus.
const eventKind = "codecommit.event"

// A notice is an event on its way.
type notice struct {
	Region   string          `json:"region"`
	Resource string          `json:"resource"`
	At       time.Time       `json:"at"`
	Detail   json.RawMessage `json:"detail"`
}

// tell announces that a branch has moved.
// https://docs.aws.amazon.com/codecommit/latest/userguide/monitoring-events.html
func (s *Service) tell(tx *store.Tx, c *wire.Call, r *repository, m move) error {
	arn := s.arn(r.Region, r.Name)
	detail := map[string]any{
		"callerUserArn": c.Principal.ARN, "event": "referenceUpdated", "referenceType": "branch", "referenceName": m.Branch, "referenceFullName": refsHeads + m.Branch,
		"repositoryId": r.ID, "repositoryName": r.Name,
	}
	switch {
	case m.From == "":
		detail["event"] = "referenceCreated"
	case m.To == "":
		detail["event"] = "referenceDeleted"
	}
	if m.To != "" {
		detail["commitId"] = m.To
	}
	if m.From != "" {
		detail["oldCommitId"] = m.From
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	body, err := json.Marshal(notice{Region: r.Region, Resource: arn, At: time.Now(), Detail: text})
	if err != nil {
		return err
	}
	tx.OnCommit(func() { s.Signals.Notify(arn) })
	return s.Tasks.Send(tx, event.Task{Kind: eventKind, Lane: arn, Body: body})
}

// announce puts an event on the default bus. It may arrive twice after a
// crash, as events may on AWS.
func (s *Service) announce(ctx context.Context, t event.Task) event.Result {
	var n notice
	if err := json.Unmarshal(t.Body, &n); err != nil {
		s.Log.Error("event of a repository cannot be read", "error", err)
		return event.Done()
	}
	as := wire.As{Region: n.Region, Principal: authz.ServicePrincipal("codecommit", n.Resource, s.Account)}
	out, err := wire.Do[eventbridge.PutEventsOutput](ctx, s.Caller, as, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		Source: new("aws.codecommit"), DetailType: new("CodeCommit Repository State Change"), Detail: new(string(n.Detail)), Resources: []string{n.Resource}, Time: &n.At,
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = errors.New(*out.Entries[0].ErrorCode + ": " + *out.Entries[0].ErrorMessage)
	}
	if err == nil {
		return event.Done()
	}
	if t.Attempts >= 20 {
		s.Log.Error("event of a repository was refused", "repository", n.Resource, "error", err)
		return event.Done()
	}
	return event.Retry(time.Second << min(t.Attempts, 8))
}
