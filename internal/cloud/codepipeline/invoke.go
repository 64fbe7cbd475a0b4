package codepipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// jobs are the actions that a function carries out. A job's id is its run's.
const jobs = store.Table[jobRow]("codepipeline.jobs")

type jobRow struct {
	Ref   runRef `json:"ref"`
	Token string `json:"token,omitempty"` // with which the function asked to be called again
}

const (
	silence     = 20 * time.Minute // after which a function's job fails
	again       = 30 * time.Second // until a function that goes on is called again
	maxVarBytes = 122880           // of a job's output variables
)

// lambdaInvoke has a function do the work: it says by PutJobSuccessResult or
// PutJobFailureResult how it went.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-Lambda.html
func lambdaInvoke() *provider {
	return &provider{
		types: []types.ActionTypeId{awsType(types.ActionCategoryInvoke, "Lambda")}, inputs: limits{0, 5}, outputs: limits{0, 5}, timeout: silence,
		keys: []key{required("FunctionName"), optional("UserParameters")},
		run:  runInvoke,
	}
}

// runInvoke calls the function. The job is there first: a fast function may
// answer before its invocation has returned.
func runInvoke(ctx context.Context, j *job) (*outcome, error) {
	var row jobRow
	err := j.DB.Update(ctx, func(tx *store.Tx) (err error) {
		row, _, err = jobs.Get(tx, j.run.ID)
		if err != nil {
			return err
		}
		row.Ref = j.ref
		return jobs.Put(tx, j.run.ID, row)
	})
	if err != nil {
		return nil, err
	}
	data, err := j.jobData(ctx)
	if err != nil {
		return nil, err
	}
	if row.Token != "" {
		data["continuationToken"] = row.Token
	}
	payload, err := json.Marshal(map[string]any{"CodePipeline.job": map[string]any{"id": j.run.ID, "accountId": j.Account, "data": data}})
	if err != nil {
		return nil, err
	}
	_, err = wire.Do[lambda.InvokeOutput](ctx, j.Caller, j.as, &lambda.InvokeInput{
		FunctionName: new(j.run.Resolved["FunctionName"]), InvocationType: lambdatypes.InvocationTypeEvent, Payload: payload,
	})
	if err != nil {
		return nil, refused("The AWS Lambda function "+j.run.Resolved["FunctionName"]+" could not be invoked", err)
	}
	return nil, nil
}

// jobData is what a function is told of its job, in the form of the event.
func (j *job) jobData(ctx context.Context) (map[string]any, error) {
	out, err := wire.Do[sts.AssumeRoleOutput](ctx, j.Caller, wire.As{
		Region: j.x.Region, Principal: authz.ServicePrincipal("codepipeline", j.arn(j.x.Region, j.x.Pipeline), j.Account),
	}, &sts.AssumeRoleInput{RoleArn: &j.run.Role, RoleSessionName: new(sessionName(j.x.Pipeline))})
	if err != nil {
		return nil, refused("The provided role cannot be assumed", err)
	}
	list := func(all []types.ArtifactDetail) []map[string]any {
		l := []map[string]any{}
		for _, a := range all {
			l = append(l, map[string]any{"name": a.Name, "revision": nil, "location": map[string]any{
				"type": "S3", "s3Location": map[string]any{"bucketName": a.S3location.Bucket, "objectKey": a.S3location.Key},
			}})
		}
		return l
	}
	data := map[string]any{
		"actionConfiguration": map[string]any{"configuration": j.run.Resolved}, "inputArtifacts": list(j.run.Inputs), "outputArtifacts": list(j.run.Outputs),
	}
	if c := out.Credentials; c != nil {
		data["artifactCredentials"] = map[string]any{"accessKeyId": c.AccessKeyId, "secretAccessKey": c.SecretAccessKey, "sessionToken": c.SessionToken}
	}
	if k := j.store.EncryptionKey; k != nil {
		data["encryptionKey"] = map[string]any{"id": k.Id, "type": k.Type}
	}
	return data, nil
}

func (s *Service) registerJobs(api *wire.API) {
	const job = "JobId!" + idRule
	wire.Handle(api, s.PutJobSuccessResult, wire.Members(job, "ContinuationToken 1..2048", "CurrentRevision.Revision! 1..1500", "CurrentRevision.ChangeIdentifier! 1..100", "CurrentRevision.RevisionSummary 1..2048",
		"ExecutionDetails.Summary 1..2048", "ExecutionDetails.ExternalExecutionId 1..1500", "ExecutionDetails.PercentComplete 0..100"))
	wire.Handle(api, s.PutJobFailureResult, wire.Members(job, "FailureDetails!", "FailureDetails.Type! JobFailed|ConfigurationError|PermissionError|RevisionOutOfSync|RevisionUnavailable|SystemUnavailable",
		"FailureDetails.Message! 1..5000", "FailureDetails.ExternalExecutionId 1..1500"))
	wire.Handle(api, s.GetJobDetails, wire.Members(job))
	wire.Handle(api, s.PollForJobs, wire.On(func(c *wire.Call, in *sdk.PollForJobsInput) []string {
		t := in.ActionTypeId
		return []string{c.ARN("codepipeline", fmt.Sprintf("actiontype:%s/%s/%s/%s", t.Owner, t.Category, *t.Provider, *t.Version))}
	}), wire.Members("ActionTypeId!", "ActionTypeId.Category! Source|Build|Deploy|Test|Invoke|Approval|Compute", "ActionTypeId.Owner! AWS|ThirdParty|Custom",
		`ActionTypeId.Provider! 1..35 [0-9A-Za-z_-]+`, `ActionTypeId.Version! 1..9 [0-9A-Za-z_-]+`, "MaxBatchSize 1..", "QueryParam 0..1"))
	wire.Handle(api, s.AcknowledgeJob, wire.Members(job, "Nonce! 1..50"))
	wire.Handle(api, s.PutApprovalResult, wire.Members("PipelineName!"+nameRule, "StageName!"+nameRule, "ActionName!"+nameRule, "Result!", "Result.Summary! 0..512", "Result.Status! Approved|Rejected", "Token!"+idRule),
		on(func(in *sdk.PutApprovalResultInput) []*string {
			return []*string{in.PipelineName, in.StageName, in.ActionName}
		}))
}

func noJob(id string) error {
	return &types.JobNotFoundException{Message: new("The job was not found: " + id)}
}

var variableName = regexp.MustCompile(`^[A-Za-z0-9@\-_]+$`)

// PutJobSuccessResult ends a function's job well or, with a continuation
// token, has the function called again.
func (s *Service) PutJobSuccessResult(ctx context.Context, in *sdk.PutJobSuccessResultInput) (*sdk.PutJobSuccessResultOutput, error) {
	size := 0
	for k, v := range in.OutputVariables {
		if size += len(k) + len(v); !variableName.MatchString(k) {
			return nil, invalid("Output variable '" + k + "' is not named by letters, digits, @, - and _")
		}
	}
	if size > maxVarBytes {
		return nil, &types.OutputVariablesSizeExceededException{Message: new("The total size of the output variables exceeds 122880 bytes")}
	}
	return &sdk.PutJobSuccessResultOutput{}, s.answer(ctx, *in.JobId, func(tx *store.Tx, row jobRow) error {
		if in.ContinuationToken != nil {
			return s.goOn(tx, row, in)
		}
		return s.settleIn(tx, row.Ref, func(r *run) {
			out := outcome{vars: in.OutputVariables}
			if d := in.ExecutionDetails; d != nil {
				out.summary, out.external, r.Percent = aws.ToString(d.Summary), aws.ToString(d.ExternalExecutionId), d.PercentComplete
			}
			if c := in.CurrentRevision; c != nil {
				out.revision = &types.ArtifactRevision{RevisionId: c.Revision, RevisionChangeIdentifier: c.ChangeIdentifier, RevisionSummary: c.RevisionSummary, Created: c.Created}
			}
			r.succeed(out)
		})
	})
}

// goOn has a job's function called again, and its silence counted anew.
func (s *Service) goOn(tx *store.Tx, row jobRow, in *sdk.PutJobSuccessResultInput) error {
	row.Token = *in.ContinuationToken
	now, body := time.Now(), encode(row.Ref)
	return errors.Join(
		jobs.Put(tx, *in.JobId, row),
		s.alter(tx, row.Ref, func(_ *passage, _ *execution, r *run) error {
			if d := in.ExecutionDetails; d != nil {
				r.Summary, r.External, r.Percent = aws.ToString(d.Summary), aws.ToString(d.ExternalExecutionId), d.PercentComplete
			}
			return nil
		}),
		s.Tasks.Send(tx, event.Task{Kind: deadlineKind, ID: row.Ref.Run, Due: now.Add(silence), Body: body}),
		s.Tasks.Send(tx, event.Task{Kind: actionKind, ID: row.Ref.Run, Due: now.Add(again), Body: body}),
	)
}

// PutJobFailureResult ends a function's job badly.
func (s *Service) PutJobFailureResult(ctx context.Context, in *sdk.PutJobFailureResultInput) (*sdk.PutJobFailureResultOutput, error) {
	return &sdk.PutJobFailureResultOutput{}, s.answer(ctx, *in.JobId, func(tx *store.Tx, row jobRow) error {
		return s.settleIn(tx, row.Ref, func(r *run) {
			r.fail(string(in.FailureDetails.Type), *in.FailureDetails.Message)
			if id := in.FailureDetails.ExternalExecutionId; id != nil {
				r.External = *id
			}
		})
	})
}

// answer finds the job that a function speaks of.
func (s *Service) answer(ctx context.Context, id string, f func(*store.Tx, jobRow) error) error {
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		row, ok, err := jobs.Get(tx, id)
		if err == nil && !ok {
			err = noJob(id)
		}
		if err != nil {
			return err
		}
		return f(tx, row)
	})
	if errors.Is(err, errGone) {
		err = &types.InvalidJobStateException{Message: new("The job is no longer in progress: " + id)}
	}
	return err
}

// GetJobDetails returns what a function was told of its job, without credentials.
func (s *Service) GetJobDetails(_ context.Context, in *sdk.GetJobDetailsInput) (*sdk.GetJobDetailsOutput, error) {
	row, err := s.job(*in.JobId)
	if err != nil {
		return nil, err
	}
	j, ok, err := s.find(row.Ref)
	if err != nil || !ok {
		return nil, errors.Join(err, noJob(*in.JobId))
	}
	list := func(all []types.ArtifactDetail) []types.Artifact {
		l := []types.Artifact{}
		for _, a := range all {
			l = append(l, types.Artifact{Name: a.Name, Location: &types.ArtifactLocation{Type: types.ArtifactLocationTypeS3, S3Location: &types.S3ArtifactLocation{BucketName: a.S3location.Bucket, ObjectKey: a.S3location.Key}}})
		}
		return l
	}
	data := &types.JobData{
		ActionTypeId: &j.run.Type, ActionConfiguration: &types.ActionConfiguration{Configuration: j.run.Resolved}, EncryptionKey: j.store.EncryptionKey,
		InputArtifacts: list(j.run.Inputs), OutputArtifacts: list(j.run.Outputs),
		PipelineContext: &types.PipelineContext{
			PipelineName: &j.x.Pipeline, PipelineArn: new(s.arn(j.x.Region, j.x.Pipeline)), PipelineExecutionId: &j.x.ID,
			Stage: &types.StageContext{Name: &j.run.Stage}, Action: &types.ActionContext{Name: &j.run.Action, ActionExecutionId: &j.run.ID},
		},
	}
	if row.Token != "" {
		data.ContinuationToken = &row.Token
	}
	return &sdk.GetJobDetailsOutput{JobDetails: &types.JobDetails{Id: in.JobId, AccountId: &s.Account, Data: data}}, nil
}

func (s *Service) job(id string) (row jobRow, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		var ok bool
		if row, ok, err = jobs.Get(tx, id); err == nil && !ok {
			err = noJob(id)
		}
		return err
	})
	return row, err
}

// PollForJobs is for workers of custom action types, of which there are none:
// nobody can make one here.
func (s *Service) PollForJobs(_ context.Context, in *sdk.PollForJobsInput) (*sdk.PollForJobsOutput, error) {
	t := in.ActionTypeId
	return nil, &types.ActionTypeNotFoundException{Message: new("The action type was not found: " + string(t.Owner) + "/" + string(t.Category) + "/" + *t.Provider + "/" + *t.Version)}
}

// AcknowledgeJob is for workers, too: a function's job has no nonce.
func (s *Service) AcknowledgeJob(_ context.Context, in *sdk.AcknowledgeJobInput) (*sdk.AcknowledgeJobOutput, error) {
	if _, err := s.job(*in.JobId); err != nil {
		return nil, err
	}
	return nil, &types.InvalidNonceException{Message: new("The nonce is not valid for job " + *in.JobId)}
}
