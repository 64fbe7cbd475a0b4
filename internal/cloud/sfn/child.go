package sfn

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"

	"miniforge/internal/cloud/wire"
)

// An execution that a task with .sync has started is stopped when nobody waits
// for it any more: the task has timed out, or what it belongs to has ended.
// AWS does the same, and as here only as well as it can: one that a crash has
// left behind runs on.
//
// https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-sync

// orphan notes that t does not wait for its child any more.
func (r *run) orphan(t *thread) {
	if t.Phase == inSync && t.Child != "" {
		r.orphans = append(r.orphans, t.Child)
	}
}

// leaveChildren stops the children of an execution that has ended.
func (r *run) leaveChildren(ctx context.Context) {
	for _, t := range r.threads {
		r.orphan(t)
	}
	r.stopOrphans(ctx)
}

func (r *run) stopOrphans(ctx context.Context) {
	for _, arn := range r.orphans {
		r.effects.Go(func() {
			as, err := r.session(ctx)
			if err == nil {
				_, err = wire.Do[sdk.StopExecutionOutput](ctx, r.s.Caller, as, &sdk.StopExecutionInput{ExecutionArn: &arn})
			}
			if err != nil && ctx.Err() == nil {
				r.s.Log.Warn("child execution not stopped", "execution", r.x.ARN, "child", arn, "error", err)
			}
		})
	}
	r.orphans = nil
}
