package sqs

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// moves are the message move tasks: key of the queue, NUL, start time, id.
const (
	moves    = store.Table[moveTask]("sqs.moves")
	moveKind = "sqs.move"
)

// A moveTask moves a dead-letter queue's messages back, or to one queue.
type moveTask struct {
	Row     string
	Status  string // RUNNING COMPLETED CANCELLED FAILED
	Source  string
	Target  string `json:",omitempty"` // "": each to the queue it came from
	Rate    int32  `json:",omitempty"` // messages a second; 0: as fast as it goes
	Moved   int64
	ToMove  int64
	Started time.Time
	Failure string `json:",omitempty"`
}

func (s *Service) registerMoves(api *wire.API) {
	onARN := func(c *wire.Call, arn *string) []authz.Access {
		return []authz.Access{{Action: "sqs:" + c.Op, Resource: *arn}}
	}
	wire.Handle(api, s.StartMessageMoveTask, wire.Members("SourceArn!", "MaxNumberOfMessagesPerSecond 1..500"), wire.Needs(moving))
	wire.Handle(api, s.ListMessageMoveTasks, wire.Members("SourceArn!", "MaxResults 1..10"), wire.Needs(func(c *wire.Call, in *sdk.ListMessageMoveTasksInput) []authz.Access { return onARN(c, in.SourceArn) }))
	wire.Handle(api, s.CancelMessageMoveTask, wire.Members("TaskHandle!"), wire.Needs(func(c *wire.Call, in *sdk.CancelMessageMoveTaskInput) []authz.Access {
		row, _ := base64.StdEncoding.DecodeString(*in.TaskHandle) // one that cannot be read is refused by the operation
		key, _, _ := strings.Cut(string(row), "\x00")
		return []authz.Access{{Action: "sqs:CancelMessageMoveTask", Resource: s.arn(key)}}
	}))
}

// moving is what starts a move: the task receives and sends in the caller's name.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
func moving(_ *wire.Call, in *sdk.StartMessageMoveTaskInput) []authz.Access {
	var all []authz.Access
	for _, action := range []string{"StartMessageMoveTask", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes"} {
		all = append(all, authz.Access{Action: "sqs:" + action, Resource: *in.SourceArn})
	}
	if in.DestinationArn != nil {
		all = append(all, authz.Access{Action: "sqs:SendMessage", Resource: *in.DestinationArn})
	}
	return all
}

func noResource(text string) error { return &types.ResourceNotFoundException{Message: &text} }

// StartMessageMoveTask begins to move the messages of a dead-letter queue.
func (s *Service) StartMessageMoveTask(ctx context.Context, in *sdk.StartMessageMoveTaskInput) (*sdk.StartMessageMoveTaskOutput, error) {
	key, ok := keyOfARN(*in.SourceArn)
	if !ok {
		return nil, noResource("The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	t := moveTask{Status: "RUNNING", Source: *in.SourceArn, Started: time.Now().UTC()}
	t.Row = key + "\x00" + t.Started.Format("20060102T150405.000000000") + uuid.NewString()
	if in.DestinationArn != nil {
		t.Target = *in.DestinationArn
	}
	if in.MaxNumberOfMessagesPerSecond != nil {
		t.Rate = *in.MaxNumberOfMessagesPerSecond
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		q, found, err := queues.Get(tx, key)
		if err != nil || !found {
			return orError(err, noResource("The resource that you specified for the SourceArn parameter doesn't exist."))
		}
		if err := s.checkMove(tx, t); err != nil {
			return err
		}
		n, err := tally(tx, key, q, t.Started)
		if err != nil {
			return err
		}
		t.ToMove = int64(n.visible)
		if err := moves.Put(tx, t.Row, t); err != nil {
			return err
		}
		body, err := json.Marshal(t.Row)
		if err != nil {
			return err
		}
		return s.Tasks.Send(tx, event.Task{Kind: moveKind, ID: t.Row, Body: body})
	})
	return &sdk.StartMessageMoveTaskOutput{TaskHandle: new(base64.StdEncoding.EncodeToString([]byte(t.Row)))}, err
}

func orError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (s *Service) checkMove(tx *store.Tx, t moveTask) error {
	if t.Target != "" {
		target, ok := keyOfARN(t.Target)
		if !ok {
			return noResource("The resource that you specified for the DestinationArn parameter doesn't exist.")
		}
		if _, found, err := queues.Get(tx, target); err != nil || !found {
			return orError(err, noResource("The resource that you specified for the DestinationArn parameter doesn't exist."))
		}
	}
	isDLQ := false
	for r, err := range queues.Range(tx, "", "") {
		if err != nil {
			return err
		}
		rp, ok := r.Value.redrive()
		isDLQ = isDLQ || ok && rp.Target == t.Source
	}
	if !isDLQ {
		return invalidParameter("Source queue must be configured as a Dead Letter Queue.")
	}
	key, _ := keyOfARN(t.Source)
	for r, err := range moves.Prefix(tx, key+"\x00") {
		if err != nil {
			return err
		}
		if r.Value.Status == "RUNNING" {
			return invalidParameter("There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
		}
	}
	return nil
}

// moveBatch is how many messages move in one transaction.
const moveBatch = 100

// move does one step of a task: a batch, or one message where a rate is set.
func (s *Service) move(ctx context.Context, task event.Task) event.Result {
	more := false
	var wait time.Duration
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		t, ok, err := moves.Get(tx, task.ID)
		if err != nil || !ok || t.Status != "RUNNING" {
			return err
		}
		key, _ := keyOfARN(t.Source)
		q, found, err := queues.Get(tx, key)
		if err != nil || !found {
			return err
		}
		n := moveBatch
		if t.Rate > 0 {
			n, wait = 1, time.Second/time.Duration(t.Rate)
		}
		ids, _, err := visible(tx, key, q, n, time.Now())
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := s.moveOne(tx, &t, key, q, id); err != nil {
				return err
			}
		}
		if more = len(ids) == n && t.Status == "RUNNING" && t.Moved < t.ToMove; !more && t.Status == "RUNNING" {
			t.Status = "COMPLETED"
		}
		return moves.Put(tx, t.Row, t)
	})
	if err != nil {
		s.Log.Error("cannot move messages", "task", task.ID, "error", err)
		return event.Retry(time.Second)
	}
	if more {
		return event.Retry(wait)
	}
	return event.Done()
}

func (s *Service) moveOne(tx *store.Tx, t *moveTask, key string, q queue, id string) error {
	m, ok, err := messages.Get(tx, rowKey(key, id))
	if err != nil || !ok || t.Status != "RUNNING" {
		return err
	}
	arn := t.Target
	if arn == "" {
		arn = m.Source
	}
	target, valid := keyOfARN(arn)
	to, found, err := queues.Get(tx, target)
	if err != nil {
		return err
	}
	if !valid || !found {
		t.Status, t.Failure = "FAILED", "AWS.SimpleQueueService.NonExistentQueue"
		return nil
	}
	// A message moved back starts anew: as if it had just been sent.
	m.Receives, m.First, m.Sent = 0, time.Time{}, time.Now().UTC()
	t.Moved++
	return s.transfer(tx, key, target, "", q, &to, m, m.Sent)
}

// ListMessageMoveTasks lists a queue's tasks, the newest first.
func (s *Service) ListMessageMoveTasks(_ context.Context, in *sdk.ListMessageMoveTasksInput) (*sdk.ListMessageMoveTasksOutput, error) {
	key, ok := keyOfARN(*in.SourceArn)
	if !ok {
		return nil, noResource("The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	limit := 1
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	out := &sdk.ListMessageMoveTasksOutput{Results: []types.ListMessageMoveTasksResultEntry{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, found, err := queues.Get(tx, key); err != nil || !found {
			return orError(err, noResource("The resource that you specified for the SourceArn parameter doesn't exist."))
		}
		for r, err := range moves.RangeDown(tx, key+"\x00", store.PrefixEnd(key+"\x00")) {
			if err != nil {
				return err
			}
			if len(out.Results) == limit {
				return nil
			}
			out.Results = append(out.Results, r.Value.entry())
		}
		return nil
	})
}

func (t moveTask) entry() types.ListMessageMoveTasksResultEntry {
	e := types.ListMessageMoveTasksResultEntry{
		Status: &t.Status, SourceArn: &t.Source, ApproximateNumberOfMessagesMoved: t.Moved, ApproximateNumberOfMessagesToMove: &t.ToMove, StartedTimestamp: t.Started.UnixMilli(),
	}
	if t.Target != "" {
		e.DestinationArn = &t.Target
	}
	if t.Rate > 0 {
		e.MaxNumberOfMessagesPerSecond = &t.Rate
	}
	if t.Failure != "" {
		e.FailureReason = &t.Failure
	}
	if t.Status == "RUNNING" {
		e.TaskHandle = new(base64.StdEncoding.EncodeToString([]byte(t.Row)))
	}
	return e
}

// CancelMessageMoveTask stops a running task; what has moved stays moved.
func (s *Service) CancelMessageMoveTask(ctx context.Context, in *sdk.CancelMessageMoveTaskInput) (*sdk.CancelMessageMoveTaskOutput, error) {
	out := &sdk.CancelMessageMoveTaskOutput{}
	row, err := base64.StdEncoding.DecodeString(*in.TaskHandle)
	if err != nil || !slices.Contains(row, 0) {
		return nil, invalidParameter("Value for parameter TaskHandle is invalid.")
	}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		t, ok, err := moves.Get(tx, string(row))
		if err != nil || !ok || t.Status != "RUNNING" {
			return orError(err, noResource("Task does not exist."))
		}
		t.Status, out.ApproximateNumberOfMessagesMoved = "CANCELLED", t.Moved
		if err := s.Tasks.Finish(tx, moveKind, t.Row); err != nil {
			return err
		}
		return moves.Put(tx, t.Row, t)
	})
}
