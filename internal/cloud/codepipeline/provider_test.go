package codepipeline

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	cdtypes "github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"miniforge/internal/cloud/wire"
)

// with is the pipeline with a last stage of one action.
func with(category types.ActionCategory, provider string, conf map[string]string, inputs ...string) *types.PipelineDeclaration {
	d := shop()
	a := types.ActionDeclaration{Name: new("last"), ActionTypeId: new(awsType(category, provider)), Configuration: conf, Namespace: new("Last")}
	for _, in := range inputs {
		a.InputArtifacts = append(a.InputArtifacts, types.InputArtifact{Name: &in})
	}
	d.Stages = []types.StageDeclaration{d.Stages[0], stage("End", a)}
	return d
}

// A function played: its code, versions and alias.
type function struct {
	code     string
	versions int
	alias    string
	weights  map[string]float64
	busy     int // reads until an update is done
	log      []string
}

func (f *function) call(_ wire.As, in any) (any, error) {
	switch in := in.(type) {
	case *lambda.GetFunctionConfigurationInput:
		if f.busy > 0 {
			f.busy--
			return &lambda.GetFunctionConfigurationOutput{LastUpdateStatus: lambdatypes.LastUpdateStatusInProgress}, nil
		}
		return &lambda.GetFunctionConfigurationOutput{LastUpdateStatus: lambdatypes.LastUpdateStatusSuccessful}, nil
	case *lambda.UpdateFunctionCodeInput:
		f.code, f.busy = *in.S3Bucket+"/"+*in.S3Key, 3
		return &lambda.UpdateFunctionCodeOutput{}, nil
	case *lambda.PublishVersionInput:
		f.versions++
		return &lambda.PublishVersionOutput{Version: new(fmt.Sprint(f.versions))}, nil
	case *lambda.GetAliasInput:
		return &lambda.GetAliasOutput{FunctionVersion: &f.alias, RoutingConfig: &lambdatypes.AliasRoutingConfiguration{AdditionalVersionWeights: f.weights}}, nil
	case *lambda.UpdateAliasInput:
		if in.FunctionVersion != nil {
			f.alias = *in.FunctionVersion
		}
		f.weights = in.RoutingConfig.AdditionalVersionWeights
		f.log = append(f.log, fmt.Sprint(f.alias, f.weights))
		return &lambda.UpdateAliasOutput{}, nil
	}
	return nil, fmt.Errorf("unexpected %T", in)
}

func TestLambdaDeployments(t *testing.T) {
	t.Run("all at once", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			f := &function{versions: 1, alias: "1"}
			r.other = f.call
			r.create(with(types.ActionCategoryDeploy, "Lambda", map[string]string{"FunctionName": "f", "FunctionAlias": "live"}, "Source"))
			time.Sleep(time.Second)
			synctest.Wait()
			r.expect("status", r.statuses(), "Succeeded")
			r.expect("alias", strings.Join(f.log, "; "), "2map[]")
			r.expect("code", f.code, "artifacts/"+*r.puts[0].Key)
			r.expect("variable", r.last("last").Output.OutputVariables["FunctionVersion"], "2")
		})
	})
	t.Run("linear, through a restart", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			f := &function{versions: 7, alias: "1"}
			r.other = f.call
			r.create(with(types.ActionCategoryDeploy, "Lambda", map[string]string{"FunctionName": "f", "FunctionAlias": "live", "PublishedTargetVersion": "7", "DeployStrategy": "Linear30PercentEvery10Minutes"}))
			time.Sleep(15 * time.Minute)
			r.stop()
			r.boot()
			time.Sleep(20 * time.Minute)
			synctest.Wait()
			r.expect("alias", strings.Join(f.log, "; "), "1map[7:0.3]; 1map[7:0.6]; 1map[7:0.9]; 7map[]")
			r.expect("status", r.statuses(), "Succeeded")
		})
	})
	t.Run("of an alias that is shifting", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			f := &function{alias: "1", weights: map[string]float64{"2": 0.5}}
			r.other = f.call
			r.create(with(types.ActionCategoryDeploy, "Lambda", map[string]string{"FunctionName": "f", "FunctionAlias": "live", "PublishedTargetVersion": "3"}))
			r.expect("why", said(r.last("last")), "ConfigurationError: The alias live of the function f must point to exactly one version")
		})
	})
}

func TestCodeDeployRefusesAZipForLambda(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.other = func(_ wire.As, in any) (any, error) {
			if d := in.(*codedeploy.CreateDeploymentInput); d.Revision.S3Location.BundleType != cdtypes.BundleTypeZip {
				t.Errorf("%+v", d.Revision.S3Location)
			}
			return nil, &cdtypes.InvalidRevisionException{Message: new("BundleType must be either YAML or JSON")}
		}
		r.create(with(types.ActionCategoryDeploy, "CodeDeploy", map[string]string{"ApplicationName": "a", "DeploymentGroupName": "g"}, "Source"))
		r.expect("why", said(r.last("last")), "ConfigurationError: Deployment could not be created: BundleType must be either YAML or JSON (Error Code: InvalidRevisionException)")
	})
}

func TestAFunctionDoesTheWork(t *testing.T) {
	type call struct {
		Job struct {
			ID   string `json:"id"`
			Data struct {
				ContinuationToken   string `json:"continuationToken"`
				ActionConfiguration struct {
					Configuration map[string]string `json:"configuration"`
				} `json:"actionConfiguration"`
				InputArtifacts []struct {
					Name     string `json:"name"`
					Location struct {
						S3 struct {
							Key string `json:"objectKey"`
						} `json:"s3Location"`
					} `json:"location"`
				} `json:"inputArtifacts"`
				ArtifactCredentials map[string]string `json:"artifactCredentials"`
			} `json:"data"`
		} `json:"CodePipeline.job"`
	}
	begin := func(t *testing.T, r *rig) *[]call {
		var calls []call
		r.other = func(_ wire.As, in any) (any, error) {
			var c call
			if err := json.Unmarshal(in.(*lambda.InvokeInput).Payload, &c); err != nil {
				t.Error(err)
			}
			calls = append(calls, c)
			return &lambda.InvokeOutput{StatusCode: 202}, nil
		}
		r.create(with(types.ActionCategoryInvoke, "Lambda", map[string]string{"FunctionName": "f", "UserParameters": "for #{Src.CommitId}"}, "Source"))
		if len(calls) != 1 {
			t.Fatalf("%d calls", len(calls))
		}
		return &calls
	}
	t.Run("and goes on", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			calls := begin(t, r)
			job := (*calls)[0].Job
			r.expect("parameters", job.Data.ActionConfiguration.Configuration["UserParameters"], "for c1")
			r.expect("artifact", job.Data.InputArtifacts[0].Location.S3.Key, *r.puts[0].Key)
			r.expect("credentials", job.Data.ArtifactCredentials["sessionToken"], "ST")
			must(r.PutJobSuccessResult(r.ctx, &sdk.PutJobSuccessResultInput{JobId: &job.ID, ContinuationToken: new("more")}))
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(*calls) != 2 || (*calls)[1].Job.Data.ContinuationToken != "more" {
				t.Fatalf("%+v", calls)
			}
			d := must(r.GetJobDetails(r.ctx, &sdk.GetJobDetailsInput{JobId: &job.ID})).JobDetails
			r.expect("details", *d.Data.PipelineContext.Action.Name+" "+*d.Data.ContinuationToken, "last more")
			must(r.PutJobSuccessResult(r.ctx, &sdk.PutJobSuccessResultInput{JobId: &job.ID, OutputVariables: map[string]string{"x": "1"}, ExecutionDetails: &types.ExecutionDetails{Summary: new("done")}}))
			synctest.Wait()
			r.expect("status", r.statuses(), "Succeeded")
			r.expect("variable", r.last("last").Output.OutputVariables["x"], "1")
			_, err := r.PutJobSuccessResult(r.ctx, &sdk.PutJobSuccessResultInput{JobId: &job.ID})
			r.expect("a second answer", code(err), "JobNotFoundException")
		})
	})
	t.Run("and fails", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			calls := begin(t, r)
			must(r.PutJobFailureResult(r.ctx, &sdk.PutJobFailureResultInput{JobId: &(*calls)[0].Job.ID, FailureDetails: &types.FailureDetails{Type: types.FailureTypeJobFailed, Message: new("no luck")}}))
			synctest.Wait()
			r.expect("why", said(r.last("last")), "JobFailed: no luck")
		})
	})
	t.Run("and is silent", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			begin(t, r)
			time.Sleep(21 * time.Minute)
			synctest.Wait()
			r.expect("status", r.statuses(), "Failed")
		})
	})
}

func TestApprovals(t *testing.T) {
	for _, c := range []struct {
		status types.ApprovalStatus
		want   string
	}{{types.ApprovalStatusApproved, "Succeeded"}, {types.ApprovalStatusRejected, "Failed"}} {
		bubble(t, func(t *testing.T, r *rig) {
			var sent string
			r.other = func(_ wire.As, in any) (any, error) {
				sent = *in.(*sns.PublishInput).Message
				return &sns.PublishOutput{}, nil
			}
			r.create(with(types.ActionCategoryApproval, "Manual", map[string]string{"NotificationArn": "arn:aws:sns:us-east-1:123456789012:t", "CustomData": "look"}))
			r.stop()
			r.boot()
			token := must(r.GetPipelineState(r.ctx, &sdk.GetPipelineStateInput{Name: new("shop")})).StageStates[1].ActionStates[0].LatestExecution.Token
			if token == nil || !strings.Contains(sent, *token) || !strings.Contains(sent, `"customData":"look"`) {
				t.Fatalf("token %v, sent %s", token, sent)
			}
			in := &sdk.PutApprovalResultInput{PipelineName: new("shop"), StageName: new("End"), ActionName: new("last"), Token: token, Result: &types.ApprovalResult{Status: c.status, Summary: new("seen")}}
			must(r.PutApprovalResult(r.ctx, in))
			synctest.Wait()
			r.expect("status", r.statuses(), c.want)
			_, err := r.PutApprovalResult(r.ctx, in)
			r.expect("twice", code(err), "ApprovalAlreadyCompletedException")
			in.Token = new("00000000-0000-0000-0000-000000000000")
			_, err = r.PutApprovalResult(r.ctx, in)
			r.expect("strange token", code(err), "InvalidApprovalTokenException")
		})
	}
}

func TestAnObjectOfS3IsASource(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.objects["in/a.zip"] = []byte("zip")
		d := shop()
		d.Stages[0].Actions[0] = types.ActionDeclaration{
			Name: new("Checkout"), ActionTypeId: new(awsType(types.ActionCategorySource, "S3")), OutputArtifacts: []types.OutputArtifact{{Name: new("Source")}},
			Configuration: map[string]string{"S3Bucket": "in", "S3ObjectKey": "a.zip"},
		}
		r.create(d)
		r.expect("artifact", string(r.objects["artifacts/"+*r.puts[0].Key]), "zip")
		r.expect("revision", r.last("Checkout").Output.OutputVariables["VersionId"], "v1")
		d.Stages[0].Actions[0].Configuration["S3ObjectKey"] = "b.zip"
		must(r.UpdatePipeline(r.ctx, &sdk.UpdatePipelineInput{Pipeline: d}))
		r.begin()
		if got := said(r.last("Checkout")); !strings.Contains(got, "The object with key 'b.zip' in bucket 'in' could not be read: Not Found") {
			t.Error(got)
		}
	})
}

func TestVariablesOfAPipeline(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		d.Variables = []types.PipelineVariableDeclaration{{Name: new("level"), DefaultValue: new("low")}}
		d.Stages[1].Actions[0].Configuration[environmentKey] = `[{"name":"LEVEL","value":"#{variables.level}"}]`
		d.ExecutionMode = types.ExecutionModeParallel
		r.create(d)
		r.begin(types.PipelineVariable{Name: new("level"), Value: new("high")})
		var got []string
		for _, b := range r.starts {
			got = append(got, *b.EnvironmentVariablesOverride[0].Value)
		}
		r.expect("values", strings.Join(got, " "), "low high")
		_, err := r.StartPipelineExecution(r.ctx, &sdk.StartPipelineExecutionInput{Name: new("shop"), Variables: []types.PipelineVariable{{Name: new("x"), Value: new("y")}}})
		r.expect("undeclared", code(err), "ValidationException")
	})
}
