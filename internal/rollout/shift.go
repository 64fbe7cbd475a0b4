package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
)

// ErrDeployment means that a deployment ended, and did not succeed. What the
// alias points at is then what it pointed at before.
var ErrDeployment = errors.New("deployment did not succeed")

// shift has CodeDeploy move the alias, and waits until it has.
func (r *Rollout) shift(ctx context.Context, log *slog.Logger, f Function, from, to string) (id string, err error) {
	spec, err := r.Template.Render(Values{Name: f.Name, Alias: f.Alias, CurrentVersion: from, TargetVersion: to})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(spec))
	out, err := r.CodeDeploy.CreateDeployment(ctx, &codedeploy.CreateDeploymentInput{
		ApplicationName: &r.Application, DeploymentGroupName: &f.Name, DeploymentConfigName: &r.Config,
		Description: aws.String(fmt.Sprintf("%s: version %s -> %s", f.Name, from, to)),
		Revision: &types.RevisionLocation{
			RevisionType:   types.RevisionLocationTypeAppSpecContent,
			AppSpecContent: &types.AppSpecContent{Content: &spec, Sha256: aws.String(hex.EncodeToString(sum[:]))},
		},
	})
	if err != nil {
		return "", fmt.Errorf("create deployment: %w", busy(err))
	}
	id = aws.ToString(out.DeploymentId)
	log.Info("deployment began", "deployment", id, "from", from, "to", to)
	info, err := r.await(ctx, id)
	if err != nil {
		r.abandon(ctx, log, id)
		return id, err
	}
	if info.Status != types.DeploymentStatusSucceeded {
		return id, r.explain(ctx, id, info)
	}
	return id, nil
}

// await returns a deployment that has ended.
func (r *Rollout) await(ctx context.Context, id string) (*types.DeploymentInfo, error) {
	for pause := firstPause; ; pause = longer(pause) {
		out, err := r.CodeDeploy.GetDeployment(ctx, &codedeploy.GetDeploymentInput{DeploymentId: &id})
		if err != nil {
			return nil, fmt.Errorf("read deployment %s: %w", id, err)
		}
		switch info := out.DeploymentInfo; info.Status {
		case types.DeploymentStatusSucceeded, types.DeploymentStatusFailed, types.DeploymentStatusStopped:
			return info, nil
		}
		if err := rest(ctx, pause); err != nil {
			return nil, fmt.Errorf("wait for deployment %s: %w", id, err)
		}
	}
}

// abandon rolls a deployment back that nobody waits for any more.
func (r *Rollout) abandon(ctx context.Context, log *slog.Logger, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, err := r.CodeDeploy.StopDeployment(ctx, &codedeploy.StopDeploymentInput{DeploymentId: &id, AutoRollbackEnabled: aws.Bool(true)})
	if err != nil && !hasCode(err, "DeploymentAlreadyCompletedException") {
		log.Error("stop deployment", "deployment", id, "error", err)
		return
	}
	log.Warn("stopped deployment", "deployment", id)
}

// explain is why a deployment did not succeed: CodeDeploy's own words, those of
// the lifecycle event that failed, and what became of the alias.
func (r *Rollout) explain(ctx context.Context, id string, info *types.DeploymentInfo) error {
	err := fmt.Errorf("%w: %s is %s", ErrDeployment, id, info.Status)
	if e := info.ErrorInformation; e != nil {
		err = fmt.Errorf("%w: %s: %s", err, e.Code, aws.ToString(e.Message))
	}
	for _, e := range r.failedEvents(ctx, id) {
		if !strings.Contains(err.Error(), e.message) { // often it is the error's own
			err = fmt.Errorf("%w; %s failed: %s", err, e.name, e.message)
		}
	}
	if back := info.RollbackInfo; back != nil && aws.ToString(back.RollbackDeploymentId) != "" {
		err = fmt.Errorf("%w; rolled back by %s", err, *back.RollbackDeploymentId)
	}
	return err
}

// A failedEvent is a lifecycle event of a deployment that failed.
type failedEvent struct{ name, message string }

// failedEvents tells of the lifecycle events that failed. It is best effort:
// that the deployment failed is known already.
func (r *Rollout) failedEvents(ctx context.Context, id string) (events []failedEvent) {
	list, err := r.CodeDeploy.ListDeploymentTargets(ctx, &codedeploy.ListDeploymentTargetsInput{DeploymentId: &id})
	if err != nil || len(list.TargetIds) == 0 {
		return nil
	}
	targets, err := r.CodeDeploy.BatchGetDeploymentTargets(ctx, &codedeploy.BatchGetDeploymentTargetsInput{DeploymentId: &id, TargetIds: list.TargetIds})
	if err != nil {
		return nil
	}
	for _, t := range targets.DeploymentTargets {
		if t.LambdaTarget == nil {
			continue
		}
		for _, e := range t.LambdaTarget.LifecycleEvents {
			if e.Status == types.LifecycleEventStatusFailed && e.Diagnostics != nil {
				events = append(events, failedEvent{aws.ToString(e.LifecycleEventName), aws.ToString(e.Diagnostics.Message)})
			}
		}
	}
	return events
}

// idle reports errBusy while a deployment of the function is under way: an
// alias is weighted on purpose, then.
func (r *Rollout) idle(ctx context.Context, f Function) error {
	out, err := r.CodeDeploy.ListDeployments(ctx, &codedeploy.ListDeploymentsInput{
		ApplicationName: &r.Application, DeploymentGroupName: &f.Name,
		IncludeOnlyStatuses: []types.DeploymentStatus{types.DeploymentStatusCreated, types.DeploymentStatusQueued, types.DeploymentStatusInProgress},
	})
	if err != nil {
		return fmt.Errorf("list deployments: %w", err)
	}
	if len(out.Deployments) > 0 {
		return fmt.Errorf("%w: deployment %s is running", errBusy, out.Deployments[0])
	}
	return nil
}
