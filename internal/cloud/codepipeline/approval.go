package codepipeline

import (
	"context"
	"encoding/json"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/google/uuid"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// approvals finds by its token the run that an approval is for.
const approvals = store.Table[runRef]("codepipeline.approvals")

// approval waits for a person's word, up to seven days.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ManualApproval.html
func approval() *provider {
	return &provider{
		types: []types.ActionTypeId{awsType(types.ActionCategoryApproval, "Manual")}, timeout: 7 * 24 * time.Hour,
		keys: []key{optional("NotificationArn"), optional("CustomData"), optional("ExternalEntityLink")},
		run:  runApproval,
	}
}

// runApproval asks for the approval. Its token is kept before the request is
// published, so that the request can name it.
func runApproval(ctx context.Context, j *job) (*outcome, error) {
	if j.run.Token == "" {
		token := uuid.NewString()
		err := j.DB.Update(ctx, func(tx *store.Tx) error {
			if err := approvals.Put(tx, idKey(j.x.Region, j.x.Pipeline, token), j.ref); err != nil {
				return err
			}
			return j.noteIn(tx, func(r *run) { r.Token = token })
		})
		if err != nil {
			return nil, err
		}
	}
	topic := j.run.Resolved["NotificationArn"]
	if topic == "" {
		return nil, nil
	}
	subject := cut("APPROVAL NEEDED: AWS CodePipeline "+j.x.Pipeline+" for action "+j.run.Action, 100)
	body, err := json.Marshal(map[string]any{"region": j.x.Region, "consoleLink": j.consoleLink(), "approval": map[string]any{
		"pipelineName": j.x.Pipeline, "stageName": j.run.Stage, "actionName": j.run.Action, "token": j.run.Token,
		"expires": j.run.Started.Add(7 * 24 * time.Hour).UTC().Format("2006-01-02T15:04Z"), "externalEntityLink": j.run.Resolved["ExternalEntityLink"],
		"approvalReviewLink": j.consoleLink() + "/" + j.run.Stage + "/" + j.run.Action + "/approve/" + j.run.Token, "customData": j.run.Resolved["CustomData"],
	}})
	if err != nil {
		return nil, err
	}
	if _, err := j.Caller.Call(ctx, j.as, &sns.PublishInput{TopicArn: &topic, Subject: &subject, Message: new(string(body))}); err != nil {
		return nil, refused("The approval could not be requested on "+topic, err)
	}
	return nil, nil
}

func (j *job) consoleLink() string {
	return "https://console.aws.amazon.com/codesuite/codepipeline/pipelines/" + j.x.Pipeline + "/view?region=" + j.x.Region + "#"
}

// PutApprovalResult answers an approval's request.
func (s *Service) PutApprovalResult(ctx context.Context, in *sdk.PutApprovalResultInput) (*sdk.PutApprovalResultOutput, error) {
	c := wire.CallOf(ctx)
	now := time.Now()
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		p, err := s.load(tx, c.Region, *in.PipelineName)
		if err != nil {
			return err
		}
		d, err := declaration(tx, p.Region, p.Name, p.Version)
		if err != nil {
			return err
		}
		if err := declared(d, *in.StageName, *in.ActionName); err != nil {
			return err
		}
		ref, known, err := approvals.Get(tx, idKey(p.Region, p.Name, *in.Token))
		if err != nil {
			return err
		}
		x, err := loadExecution(tx, p.Region, p.Name, ref.Execution)
		if known && err != nil {
			return err
		}
		r := x.run(ref.Run)
		switch {
		case r == nil || r.Stage != *in.StageName || r.Action != *in.ActionName:
			return &types.InvalidApprovalTokenException{Message: new("The approval token '" + *in.Token + "' is not valid")}
		case r.Status != types.ActionExecutionStatusInProgress:
			return &types.ApprovalAlreadyCompletedException{Message: new("The approval has already been completed: action '" + r.Action + "'")}
		}
		return s.settleIn(tx, ref, func(r *run) {
			r.By = c.Principal.ARN
			if in.Result.Status == types.ApprovalStatusApproved {
				r.succeed(outcome{summary: *in.Result.Summary})
				return
			}
			r.fail(jobFailed, "Approval was rejected by "+c.Principal.ARN)
			r.Summary = *in.Result.Summary
		})
	})
	if err != nil {
		return nil, err
	}
	return &sdk.PutApprovalResultOutput{ApprovedAt: &now}, nil
}

// declared tells whether a structure has an action.
func declared(d types.PipelineDeclaration, stage, action string) error {
	for _, st := range d.Stages {
		if *st.Name != stage {
			continue
		}
		for _, a := range st.Actions {
			if *a.Name == action {
				return nil
			}
		}
		return &types.ActionNotFoundException{Message: new("Stage '" + stage + "' does not have an action with name '" + action + "'")}
	}
	return noStage(*d.Name, stage)
}
