package codepipeline

import (
	"context"
	"regexp"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	cdtypes "github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/wire"
)

const maxShift = 48 * time.Hour // of a whole canary or linear deployment

// A strategy is how traffic shifts to a new version.
type strategy struct {
	percent int           // of each step
	every   time.Duration // between steps
	steps   int           // before all traffic is shifted; 0: all at once
}

var strategyForm = regexp.MustCompile(`^(?:Canary(\d{1,2})Percent(\d{1,4})Minutes?|Linear(\d{1,2})PercentEvery(\d{1,4})Minutes?|AllAtOnce)$`)

func parseStrategy(text string) (st strategy, ok bool) {
	if text == "" {
		return st, true
	}
	m := strategyForm.FindStringSubmatch(text)
	if m == nil {
		return st, false
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n } //nolint:errcheck // the form has digits only
	switch {
	case m[1] != "":
		st = strategy{number(m[1]), time.Duration(number(m[2])) * time.Minute, 1}
	case m[3] != "":
		st = strategy{percent: number(m[3]), every: time.Duration(number(m[4])) * time.Minute}
		if st.percent > 0 {
			st.steps = (99) / st.percent
		}
	default:
		return st, true
	}
	return st, st.percent > 0 && st.every > 0 && time.Duration(st.steps)*st.every <= maxShift
}

// lambdaDeploy brings a function's package, or one of its versions, into
// traffic by its alias. CodeDeploy has no part in it.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-LambdaDeploy.html
func lambdaDeploy() *provider {
	return &provider{
		types: []types.ActionTypeId{awsType(types.ActionCategoryDeploy, "Lambda")}, inputs: limits{0, 1}, timeout: maxShift + hour, v2: true,
		keys: []key{required("FunctionName"), optional("FunctionAlias"), optional("PublishedTargetVersion"), optional("DeployStrategy"), optional("Alarms")},
		check: func(a types.ActionDeclaration) string {
			c := a.Configuration
			st, ok := parseStrategy(c["DeployStrategy"])
			switch {
			case !ok:
				return "DeployStrategy " + c["DeployStrategy"] + " must be AllAtOnce, Canary<percent>Percent<minutes>Minutes or Linear<percent>PercentEvery<minutes>Minutes, and take two days at most"
			case st.steps > 0 && c["FunctionAlias"] == "":
				return "DeployStrategy " + c["DeployStrategy"] + " needs FunctionAlias"
			case len(a.InputArtifacts) == 0 && c["PublishedTargetVersion"] == "":
				return "PublishedTargetVersion is required when there is no input artifact"
			case len(a.InputArtifacts) > 0 && c["PublishedTargetVersion"] != "":
				return "PublishedTargetVersion and an input artifact exclude each other"
			case c["Alarms"] != "":
				return "the embedded cloud has no CloudWatch alarms"
			}
			return ""
		},
		run: runLambdaDeploy,
	}
}

// Memos of a Lambda deployment.
const (
	memoVersion = "version" // what is deployed
	memoStarted = "started" // when traffic began to shift
)

func runLambdaDeploy(ctx context.Context, j *job) (*outcome, error) {
	version, err := j.targetVersion(ctx)
	if err != nil {
		return nil, err
	}
	out := &outcome{summary: "Deployed version " + version, external: version, vars: map[string]string{"FunctionVersion": version}}
	if j.run.Resolved["FunctionAlias"] == "" {
		return out, nil
	}
	wait, err := j.shift(ctx, version)
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return &outcome{again: wait}, nil
	}
	return out, nil
}

// targetVersion is the version to deploy: the one that is named, or one
// published of the artifact.
func (j *job) targetVersion(ctx context.Context) (string, error) {
	if v := j.run.Memo[memoVersion]; v != "" {
		return v, nil
	}
	version, fn := j.run.Resolved["PublishedTargetVersion"], j.run.Resolved["FunctionName"]
	if len(j.run.Inputs) > 0 {
		loc := j.run.Inputs[0].S3location
		if err := j.settled(ctx, fn); err != nil {
			return "", err
		}
		if _, err := j.Caller.Call(ctx, j.as, &lambda.UpdateFunctionCodeInput{FunctionName: &fn, S3Bucket: loc.Bucket, S3Key: loc.Key}); err != nil {
			return "", refused("The code of the function "+fn+" could not be updated", err)
		}
		if err := j.settled(ctx, fn); err != nil {
			return "", err
		}
		out, err := wire.Do[lambda.PublishVersionOutput](ctx, j.Caller, j.as, &lambda.PublishVersionInput{FunctionName: &fn})
		if err != nil {
			return "", refused("A version of the function "+fn+" could not be published", err)
		}
		version = *out.Version
	}
	return version, j.memo(ctx, memoVersion, version)
}

// settled waits until a change of the function is done.
func (j *job) settled(ctx context.Context, fn string) error {
	for {
		out, err := wire.Do[lambda.GetFunctionConfigurationOutput](ctx, j.Caller, j.as, &lambda.GetFunctionConfigurationInput{FunctionName: &fn})
		switch {
		case err != nil:
			return refused("The function "+fn+" could not be read", err)
		case out.LastUpdateStatus == lambdatypes.LastUpdateStatusFailed:
			return failed(jobFailed, "The function %s could not be updated: %s", fn, aws.ToString(out.LastUpdateStatusReason))
		case out.LastUpdateStatus != lambdatypes.LastUpdateStatusInProgress && out.State != lambdatypes.StatePending:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
		if err := j.inProgress(); err != nil {
			return err
		}
	}
}

// shift gives the alias the weights that are due now, and returns when they
// change next; 0: the version has all traffic. What is due follows from when
// the shift began alone, so a restart delays it but repeats no step.
func (j *job) shift(ctx context.Context, version string) (time.Duration, error) {
	fn, alias := j.run.Resolved["FunctionName"], j.run.Resolved["FunctionAlias"]
	now, err := wire.Do[lambda.GetAliasOutput](ctx, j.Caller, j.as, &lambda.GetAliasInput{FunctionName: &fn, Name: &alias})
	if err != nil {
		return 0, refused("The alias "+alias+" of the function "+fn+" could not be read", err)
	}
	began := j.run.Memo[memoStarted]
	if began == "" {
		if now.RoutingConfig != nil && len(now.RoutingConfig.AdditionalVersionWeights) > 0 {
			return 0, failed(configuration, "The alias %s of the function %s must point to exactly one version", alias, fn)
		}
		began = time.Now().UTC().Format(time.RFC3339Nano)
		if err := j.memo(ctx, memoStarted, began); err != nil {
			return 0, err
		}
	}
	start, err := time.Parse(time.RFC3339Nano, began)
	if err != nil {
		return 0, err
	}
	st, _ := parseStrategy(j.run.Resolved["DeployStrategy"])
	step := 0
	if st.every > 0 {
		step = int(time.Since(start) / st.every)
	}
	in := &lambda.UpdateAliasInput{FunctionName: &fn, Name: &alias, RoutingConfig: &lambdatypes.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}}}
	var wait time.Duration
	if step >= st.steps || *now.FunctionVersion == version {
		in.FunctionVersion = &version
	} else {
		in.RoutingConfig.AdditionalVersionWeights[version] = float64(st.percent*(step+1)) / 100
		wait = time.Until(start.Add(time.Duration(step+1) * st.every))
	}
	if _, err := j.Caller.Call(ctx, j.as, in); err != nil {
		return 0, refused("The alias "+alias+" of the function "+fn+" could not be updated", err)
	}
	return wait, nil
}

// codeDeploy hands a zip archive to CodeDeploy, which takes it for servers
// only: deployments to Lambda fail, as they do on AWS.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeDeploy.html
func codeDeploy() *provider {
	return &provider{
		types: []types.ActionTypeId{awsType(types.ActionCategoryDeploy, "CodeDeploy")}, inputs: limits{1, 1}, timeout: 5 * 24 * time.Hour,
		keys: []key{required("ApplicationName"), required("DeploymentGroupName")}, run: runCodeDeploy,
	}
}

func runCodeDeploy(ctx context.Context, j *job) (*outcome, error) {
	if j.run.External == "" {
		loc := j.run.Inputs[0].S3location
		out, err := wire.Do[codedeploy.CreateDeploymentOutput](ctx, j.Caller, j.as, &codedeploy.CreateDeploymentInput{
			ApplicationName: new(j.run.Resolved["ApplicationName"]), DeploymentGroupName: new(j.run.Resolved["DeploymentGroupName"]),
			Revision: &cdtypes.RevisionLocation{RevisionType: cdtypes.RevisionLocationTypeS3, S3Location: &cdtypes.S3Location{Bucket: loc.Bucket, Key: loc.Key, BundleType: cdtypes.BundleTypeZip}},
		})
		if err != nil {
			return nil, refused("Deployment could not be created", err)
		}
		if err := j.note(ctx, func(r *run) { r.External = *out.DeploymentId }); err != nil {
			return nil, err
		}
	}
	out, err := wire.Do[codedeploy.GetDeploymentOutput](ctx, j.Caller, j.as, &codedeploy.GetDeploymentInput{DeploymentId: &j.run.External})
	if err != nil {
		return nil, refused("Deployment "+j.run.External+" could not be read", err)
	}
	switch d := out.DeploymentInfo; d.Status {
	case cdtypes.DeploymentStatusSucceeded:
		return &outcome{summary: "Deployment Succeeded"}, nil
	case cdtypes.DeploymentStatusFailed, cdtypes.DeploymentStatusStopped:
		text := "Deployment " + j.run.External + " " + string(d.Status)
		if d.ErrorInformation != nil {
			text += ": " + aws.ToString(d.ErrorInformation.Message)
		}
		return nil, failed(jobFailed, "%s", text)
	}
	return &outcome{again: 2 * time.Second}, nil
}
