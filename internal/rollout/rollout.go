// Package rollout puts built functions live, inside the pipeline: it publishes
// a version of each function whose code differs from what serves, and has
// CodeDeploy shift the function's alias to it. CodePipeline has no action that
// does this for Lambda, so a build of the Deploy stage runs it.
//
// It may be repeated at any time: what serves already is left alone.
package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

// lambdaAPI is what a rollout asks of Lambda.
type lambdaAPI interface {
	GetAlias(context.Context, *lambda.GetAliasInput, ...func(*lambda.Options)) (*lambda.GetAliasOutput, error)
	UpdateAlias(context.Context, *lambda.UpdateAliasInput, ...func(*lambda.Options)) (*lambda.UpdateAliasOutput, error)
	GetFunctionConfiguration(context.Context, *lambda.GetFunctionConfigurationInput, ...func(*lambda.Options)) (*lambda.GetFunctionConfigurationOutput, error)
	UpdateFunctionCode(context.Context, *lambda.UpdateFunctionCodeInput, ...func(*lambda.Options)) (*lambda.UpdateFunctionCodeOutput, error)
}

// deployAPI is what a rollout asks of CodeDeploy.
type deployAPI interface {
	CreateDeployment(context.Context, *codedeploy.CreateDeploymentInput, ...func(*codedeploy.Options)) (*codedeploy.CreateDeploymentOutput, error)
	GetDeployment(context.Context, *codedeploy.GetDeploymentInput, ...func(*codedeploy.Options)) (*codedeploy.GetDeploymentOutput, error)
	ListDeployments(context.Context, *codedeploy.ListDeploymentsInput, ...func(*codedeploy.Options)) (*codedeploy.ListDeploymentsOutput, error)
	StopDeployment(context.Context, *codedeploy.StopDeploymentInput, ...func(*codedeploy.Options)) (*codedeploy.StopDeploymentOutput, error)
	ListDeploymentTargets(context.Context, *codedeploy.ListDeploymentTargetsInput, ...func(*codedeploy.Options)) (*codedeploy.ListDeploymentTargetsOutput, error)
	BatchGetDeploymentTargets(context.Context, *codedeploy.BatchGetDeploymentTargetsInput, ...func(*codedeploy.Options)) (*codedeploy.BatchGetDeploymentTargetsOutput, error)
}

var (
	_ lambdaAPI = (*lambda.Client)(nil)
	_ deployAPI = (*codedeploy.Client)(nil)
)

// A Function is one function to be rolled out.
type Function struct {
	Name  string // of the function in Lambda, and of its deployment group
	Alias string // through which callers reach it
	Zip   []byte // the deployment package
}

// A Rollout puts functions live.
type Rollout struct {
	Lambda      lambdaAPI
	CodeDeploy  deployAPI
	Application string   // of CodeDeploy
	Config      string   // deployment configuration: "CodeDeployDefault.LambdaAllAtOnce"
	Template    Template // of each deployment
	Log         *slog.Logger
}

// An Outcome is what became of one function.
type Outcome struct {
	Function   string
	From, To   string // versions behind the alias, before and after
	Deployment string // id; "" if nothing had to be deployed
}

// Run puts the functions live, all at the same time, as they do not depend on
// one another's versions. A function that fails stops no other; the error
// joins the reasons of all that did. Outcomes are in the order of the
// functions.
func (r *Rollout) Run(ctx context.Context, functions []Function) ([]Outcome, error) {
	outcomes, errs := make([]Outcome, len(functions)), make([]error, len(functions))
	var wg sync.WaitGroup
	for i, f := range functions {
		wg.Go(func() {
			var err error
			if outcomes[i], err = r.deliver(ctx, f); err != nil {
				errs[i] = fmt.Errorf("roll out %s: %w", f.Name, err)
			}
		})
	}
	wg.Wait()
	return outcomes, errors.Join(errs...)
}

// errBusy means that somebody else is changing the function; it will pass.
var errBusy = errors.New("busy")

func (r *Rollout) deliver(ctx context.Context, f Function) (Outcome, error) {
	log := r.Log.With("function", f.Name)
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		o, err := r.attempt(ctx, log, f)
		if !errors.Is(err, errBusy) {
			return o, err
		}
		log.Info("wait for another change to end", "reason", err)
		if err := rest(ctx, pause); err != nil {
			return o, err
		}
	}
}

func (r *Rollout) attempt(ctx context.Context, log *slog.Logger, f Function) (Outcome, error) {
	o := Outcome{Function: f.Name}
	var err error
	if o.From, err = r.straight(ctx, log, f); err != nil {
		return o, err
	}
	sum := sha256.Sum256(f.Zip)
	sha := base64.StdEncoding.EncodeToString(sum[:])
	live, err := r.settled(ctx, f.Name, f.Alias)
	if err != nil {
		return o, err
	}
	o.To = o.From
	if aws.ToString(live.CodeSha256) == sha {
		log.Info("unchanged", "version", o.From)
		return o, r.restore(ctx, f, sha)
	}
	if o.To, err = r.publish(ctx, f); err != nil {
		return o, err
	}
	log.Info("published", "version", o.To, "code_sha256", sha)
	if o.To == o.From { // only the configuration of $LATEST had been changed
		return o, nil
	}
	if o.Deployment, err = r.shift(ctx, log, f, o.From, o.To); err != nil {
		return o, err
	}
	if err := r.confirm(ctx, f, o.To); err != nil {
		return o, err
	}
	log.Info("live", "from", o.From, "to", o.To, "deployment", o.Deployment)
	return o, nil
}

// straight returns the version behind the alias, after making it the only one:
// CodeDeploy shifts no alias that is weighted on two versions, as a deployment
// that was stopped leaves it.
func (r *Rollout) straight(ctx context.Context, log *slog.Logger, f Function) (string, error) {
	alias, err := r.Lambda.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &f.Name, Name: &f.Alias})
	if err != nil {
		return "", fmt.Errorf("read alias %s: %w", f.Alias, err)
	}
	version := aws.ToString(alias.FunctionVersion)
	if alias.RoutingConfig == nil || len(alias.RoutingConfig.AdditionalVersionWeights) == 0 {
		return version, nil
	}
	if err := r.idle(ctx, f); err != nil {
		return "", err
	}
	log.Warn("straighten the alias, which an interrupted deployment left on two versions", "version", version)
	_, err = r.Lambda.UpdateAlias(ctx, &lambda.UpdateAliasInput{
		FunctionName: &f.Name, Name: &f.Alias, FunctionVersion: &version,
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}},
	})
	if err != nil {
		return "", fmt.Errorf("straighten alias %s: %w", f.Alias, busy(err))
	}
	return version, nil
}

// restore makes $LATEST what serves, where a delivery that failed left its code
// there: nothing is published.
func (r *Rollout) restore(ctx context.Context, f Function, sha string) error {
	latest, err := r.settled(ctx, f.Name, "")
	if err != nil || aws.ToString(latest.CodeSha256) == sha {
		return err
	}
	if _, err := r.Lambda.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &f.Name, ZipFile: f.Zip}); err != nil {
		return fmt.Errorf("restore $LATEST: %w", busy(err))
	}
	return nil
}

// publish uploads the code and returns the version that has it: the last one,
// if an earlier attempt published it already.
func (r *Rollout) publish(ctx context.Context, f Function) (string, error) {
	out, err := r.Lambda.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &f.Name, ZipFile: f.Zip, Publish: true})
	if err != nil {
		return "", fmt.Errorf("publish: %w", busy(err))
	}
	version := aws.ToString(out.Version)
	_, err = r.settled(ctx, f.Name, version)
	return version, err
}

// settled returns a version's configuration once it serves and takes changes.
func (r *Rollout) settled(ctx context.Context, name, qualifier string) (*lambda.GetFunctionConfigurationOutput, error) {
	in := &lambda.GetFunctionConfigurationInput{FunctionName: &name}
	if qualifier != "" {
		in.Qualifier = &qualifier
	}
	for pause := firstPause; ; pause = longer(pause) {
		out, err := r.Lambda.GetFunctionConfiguration(ctx, in)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read function: %w", err)
		case out.State == types.StateFailed:
			return nil, fmt.Errorf("version %s is Failed: %s", aws.ToString(out.Version), aws.ToString(out.StateReason))
		case out.State != types.StatePending && out.LastUpdateStatus != types.LastUpdateStatusInProgress:
			return out, nil
		}
		if err := rest(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// confirm proves that the alias is where it should be, and nowhere else.
func (r *Rollout) confirm(ctx context.Context, f Function, version string) error {
	alias, err := r.Lambda.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &f.Name, Name: &f.Alias})
	if err != nil {
		return fmt.Errorf("read alias %s: %w", f.Alias, err)
	}
	if got := aws.ToString(alias.FunctionVersion); got != version {
		return fmt.Errorf("the deployment succeeded, but alias %s is at version %s, not %s", f.Alias, got, version)
	}
	if c := alias.RoutingConfig; c != nil && len(c.AdditionalVersionWeights) > 0 {
		return fmt.Errorf("the deployment succeeded, but alias %s is weighted: %v", f.Alias, c.AdditionalVersionWeights)
	}
	return nil
}

// busy marks errors that say that another change is under way.
func busy(err error) error {
	if hasCode(err, "ResourceConflictException", "DeploymentLimitExceededException", "PreconditionFailedException") {
		return fmt.Errorf("%w: %w", errBusy, err)
	}
	return err
}

func hasCode(err error, codes ...string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode())
}

// firstPause is short, as a local endpoint needs milliseconds; AWS needs
// seconds, and is asked ever less often.
const firstPause = 20 * time.Millisecond

func longer(pause time.Duration) time.Duration { return min(pause*3/2, 2*time.Second) }

func rest(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pause):
		return nil
	}
}
