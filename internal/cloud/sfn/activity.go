package sfn

import (
	"context"
	"fmt"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// An activity is a task that workers elsewhere poll for.
type activity struct {
	ARN     string            `json:"arn"`
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Tags    map[string]string `json:"tags,omitempty"`
}

// A queuedTask waits for a worker.
type queuedTask struct {
	Activity string    `json:"activity"`
	Token    string    `json:"token"`
	Input    string    `json:"input"`
	At       time.Time `json:"at"`
}

// pollTime is how long GetActivityTask waits for a task.
const pollTime = 60 * time.Second

func (s *Service) registerActivities(api *wire.API) {
	wire.Handle(api, s.CreateActivity, wire.On(func(c *wire.Call, in *sdk.CreateActivityInput) []string {
		if in.Name == nil {
			return []string{"*"}
		}
		return []string{c.ARN("states", "activity:"+*in.Name)}
	}), wire.Members("Name! 1..80"))
	wire.Handle(api, s.DescribeActivity, on(func(in *sdk.DescribeActivityInput) *string { return in.ActivityArn }), wire.Members("ActivityArn! 1..256"))
	wire.Handle(api, s.DeleteActivity, on(func(in *sdk.DeleteActivityInput) *string { return in.ActivityArn }), wire.Members("ActivityArn! 1..256"))
	wire.Handle(api, s.ListActivities, wire.Members("MaxResults 0..1000", "NextToken 1..1024"))
	wire.Handle(api, s.GetActivityTask, on(func(in *sdk.GetActivityTaskInput) *string { return in.ActivityArn }),
		wire.Members("ActivityArn! 1..256", "WorkerName 1..80"))
	wire.Handle(api, s.SendTaskSuccess, wire.Members("TaskToken! 1..2048", "Output! 0..262144"))
	wire.Handle(api, s.SendTaskFailure, wire.Members("TaskToken! 1..2048", "Error 0..256", "Cause 0..32768"))
	wire.Handle(api, s.SendTaskHeartbeat, wire.Members("TaskToken! 1..2048"))
}

// CreateActivity makes an activity. The same name again is no error.
func (s *Service) CreateActivity(ctx context.Context, in *sdk.CreateActivityInput) (*sdk.CreateActivityOutput, error) {
	if err := validName(in.Name); err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	if in.EncryptionConfiguration != nil {
		if _, err := checkEncryption(in.EncryptionConfiguration); err != nil {
			return nil, err
		}
	}
	a := activity{ARN: wire.CallOf(ctx).ARN("states", "activity:"+*in.Name), Name: *in.Name, Created: s.now(), Tags: tags}
	out := &sdk.CreateActivityOutput{ActivityArn: &a.ARN, CreationDate: &a.Created}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		was, exists, err := activities.Get(tx, a.ARN)
		if err != nil {
			return err
		}
		if exists {
			out.CreationDate = &was.Created
			return nil
		}
		return activities.Put(tx, a.ARN, a)
	})
}

func (s *Service) activity(tx *store.Tx, text *string) (activity, error) {
	a, err := s.parseARN(text, "activity")
	if err != nil {
		return activity{}, err
	}
	v, ok, err := activities.Get(tx, a.full)
	if err == nil && !ok {
		err = &types.ActivityDoesNotExist{Message: new("Activity Does Not Exist: '" + a.full + "'")}
	}
	return v, err
}

// DescribeActivity tells about an activity.
func (s *Service) DescribeActivity(_ context.Context, in *sdk.DescribeActivityInput) (*sdk.DescribeActivityOutput, error) {
	out := &sdk.DescribeActivityOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		a, err := s.activity(tx, in.ActivityArn)
		out.ActivityArn, out.Name, out.CreationDate = &a.ARN, &a.Name, &a.Created
		out.EncryptionConfiguration = &types.EncryptionConfiguration{Type: types.EncryptionTypeAwsOwnedKey}
		return err
	})
}

// DeleteActivity removes an activity; one that does not exist is no error.
func (s *Service) DeleteActivity(ctx context.Context, in *sdk.DeleteActivityInput) (*sdk.DeleteActivityOutput, error) {
	a, err := s.parseARN(in.ActivityArn, "activity")
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteActivityOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error { return activities.Delete(tx, a.full) })
}

// ListActivities lists the activities of a region.
func (s *Service) ListActivities(ctx context.Context, in *sdk.ListActivitiesInput) (*sdk.ListActivitiesOutput, error) {
	prefix := wire.CallOf(ctx).ARN("states", "activity:")
	from, err := decodeToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListActivitiesOutput{Activities: []types.ActivityListItem{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range activities.Range(tx, max(from, prefix), store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if len(out.Activities) == page(in.MaxResults) {
				out.NextToken = encodeToken(r.Key)
				return nil
			}
			out.Activities = append(out.Activities, types.ActivityListItem{ActivityArn: &r.Value.ARN, Name: &r.Value.Name, CreationDate: &r.Value.Created})
		}
		return nil
	})
}

func activityKey(arn string) string { return "sfn.activity\x00" + arn }

// offer puts tasks of activities where workers find them.
func (s *Service) offer(tx *store.Tx, all map[string]queuedTask) error {
	for k, q := range all {
		q.Token = k
		if err := queued.Put(tx, fmt.Sprintf("%s\x00%020d\x00%s", q.Activity, q.At.UnixNano(), k), q); err != nil {
			return err
		}
		tx.OnCommit(func() { s.Signals.Notify(activityKey(q.Activity)) })
	}
	return nil
}

// GetActivityTask gives a worker the oldest task of an activity, or nothing if
// none comes for a minute.
func (s *Service) GetActivityTask(ctx context.Context, in *sdk.GetActivityTaskInput) (*sdk.GetActivityTaskOutput, error) {
	err := s.DB.View(func(tx *store.Tx) error {
		_, err := s.activity(tx, in.ActivityArn)
		return err
	})
	if err != nil {
		return nil, err
	}
	news, cancel := s.Signals.Subscribe(activityKey(*in.ActivityArn))
	defer cancel()
	over := time.NewTimer(pollTime)
	defer over.Stop()
	for {
		q, err := s.takeTask(ctx, in)
		if err != nil || q != nil {
			return q, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-over.C:
			return &sdk.GetActivityTaskOutput{}, nil
		case <-news:
		}
	}
}

// takeTask takes the oldest task that still waits; nil if there is none.
func (s *Service) takeTask(ctx context.Context, in *sdk.GetActivityTaskInput) (out *sdk.GetActivityTaskOutput, err error) {
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		var past []string
		var found *queuedTask
		var k token
		for r, err := range queued.Prefix(tx, *in.ActivityArn+"\x00") {
			if err != nil {
				return err
			}
			past = append(past, r.Key)
			var ok bool
			if k, ok, err = tokens.Get(tx, r.Value.Token); err != nil {
				return err
			}
			if ok && !k.Ended { // otherwise timed out or aborted meanwhile
				found = &r.Value
				break
			}
		}
		for _, key := range past {
			if err := queued.Delete(tx, key); err != nil {
				return err
			}
		}
		if found == nil {
			return nil
		}
		k.Taken, k.Beat = true, s.now()
		if in.WorkerName != nil {
			k.Worker = *in.WorkerName
		}
		tx.OnCommit(func() { s.Signals.Notify(wakeKey(k.Execution)) })
		out = &sdk.GetActivityTaskOutput{TaskToken: &found.Token, Input: &found.Input}
		return tokens.Put(tx, found.Token, k)
	})
	return out, err
}
