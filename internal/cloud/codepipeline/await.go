package codepipeline

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
)

// await looks by check whenever something under key or of the pipeline has
// changed, until check is done or the run is no longer in progress. It looks
// now and then anyhow: the key's service may not have announced its last change
// before this process began.
func (j *job) await(ctx context.Context, key string, check func() (done bool, err error)) error {
	theirs, stop := j.Signals.Subscribe(key)
	defer stop()
	ours, stopOurs := j.Signals.Subscribe(j.arn(j.x.Region, j.x.Pipeline))
	defer stopOurs()
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	for {
		if done, err := check(); err != nil || done {
			return err
		}
		if err := j.inProgress(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-theirs:
		case <-ours:
			if err := j.waitOrGone(ctx, theirs, ours, ticker.C); err != nil {
				return err
			}
		case <-ticker.C:
		}
	}
}

// waitOrGone follows the pipeline's own changes, which say nothing about the
// key, without asking its service each time.
func (j *job) waitOrGone(ctx context.Context, theirs, ours <-chan struct{}, tick <-chan time.Time) error {
	for {
		if err := j.inProgress(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-theirs:
			return nil
		case <-tick:
			return nil
		case <-ours:
		}
	}
}

func (j *job) inProgress() error {
	now, ok, err := j.find(j.ref)
	if err == nil && (!ok || now.run.Status != types.ActionExecutionStatusInProgress) {
		err = errGone
	}
	return err
}
