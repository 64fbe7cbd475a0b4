// Package notice puts what happens in a service on the default bus of
// EventBridge, as AWS's services do: with the transaction that made it happen,
// at least once, and those of one resource in order.
//
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event.html
package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A Sender sends the notices of one service.
type Sender struct {
	Service string // "codebuild": the source is "aws.codebuild"
	Tasks   event.Sender
	Caller  wire.Caller
	Log     *slog.Logger
	Account string
}

// A note is a notice on its way.
type note struct {
	Region   string          `json:"region"`
	Resource string          `json:"resource"` // ARN
	What     string          `json:"what"`     // the detail-type
	At       time.Time       `json:"at"`
	Detail   json.RawMessage `json:"detail"`
}

func (s *Sender) kind() string { return s.Service + ".event" }

// workers is how many notices of a service are sent at a time.
const workers = 8

// Register adds the task's handler.
func (s *Sender) Register(q *event.Queue) { q.Handle(s.kind(), workers, s.deliver) }

// Send tells of a resource, given by its ARN, as part of tx. what is the
// event's detail-type.
func (s *Sender) Send(tx *store.Tx, region, resource, what string, detail any) error {
	d, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("write event of %s: %w", resource, err)
	}
	body, err := json.Marshal(note{Region: region, Resource: resource, What: what, At: time.Now(), Detail: d})
	if err != nil {
		return fmt.Errorf("write event of %s: %w", resource, err)
	}
	return s.Tasks.Send(tx, event.Task{Kind: s.kind(), Lane: resource, Body: body})
}

// tries is how often a notice is sent before it is given up.
const tries = 20

// deliver puts a notice on the bus. It may arrive twice after a crash, as
// events may on AWS.
func (s *Sender) deliver(ctx context.Context, t event.Task) event.Result {
	var n note
	if err := json.Unmarshal(t.Body, &n); err != nil {
		s.Log.Error("cannot read an event on its way", "kind", t.Kind, "error", err)
		return event.Done()
	}
	as := wire.As{Region: n.Region, Principal: authz.ServicePrincipal(s.Service, n.Resource, s.Account)}
	out, err := wire.Do[eventbridge.PutEventsOutput](ctx, s.Caller, as, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		Source: new("aws." + s.Service), DetailType: &n.What, Detail: new(string(n.Detail)), Resources: []string{n.Resource}, Time: &n.At,
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = errors.New(*out.Entries[0].ErrorCode + ": " + *out.Entries[0].ErrorMessage)
	}
	switch {
	case err == nil:
		return event.Done()
	case t.Attempts >= tries:
		s.Log.Error("event was refused", "resource", n.Resource, "event", n.What, "error", err)
		return event.Done()
	}
	return event.Retry(time.Second << min(t.Attempts, 8))
}
