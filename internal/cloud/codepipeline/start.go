package codepipeline

import (
	"context"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerExecutions(api *wire.API) {
	wire.Handle(api, s.StartPipelineExecution,
		wire.Members("Name!"+nameRule, "ClientRequestToken 1..128 [a-zA-Z0-9-]+", "Variables 1..50", `Variables[].Name! 1..128 [A-Za-z0-9@\-_]+`, "Variables[].Value! 1..1000 .*",
			"SourceRevisions 0..50", "SourceRevisions[].ActionName!"+nameRule, "SourceRevisions[].RevisionType! COMMIT_ID|IMAGE_DIGEST|S3_OBJECT_VERSION_ID|S3_OBJECT_KEY", "SourceRevisions[].RevisionValue! 1..1500"),
		on(func(in *sdk.StartPipelineExecutionInput) []*string { return []*string{in.Name} }))
	wire.Handle(api, s.GetPipelineExecution, wire.Members("PipelineName!"+nameRule, "PipelineExecutionId!"+idRule),
		on(func(in *sdk.GetPipelineExecutionInput) []*string { return []*string{in.PipelineName} }))
	wire.Handle(api, s.ListPipelineExecutions, wire.Members("PipelineName!"+nameRule, "MaxResults 1..100", tokenRule, "Filter.SucceededInStage.StageName"+nameRule),
		on(func(in *sdk.ListPipelineExecutionsInput) []*string { return []*string{in.PipelineName} }))
	wire.Handle(api, s.ListActionExecutions,
		wire.Members("PipelineName!"+nameRule, "MaxResults 1..100", tokenRule, "Filter.PipelineExecutionId"+idRule,
			"Filter.LatestInPipelineExecution.PipelineExecutionId!"+idRule, "Filter.LatestInPipelineExecution.StartTimeRange! Latest|All"),
		on(func(in *sdk.ListActionExecutionsInput) []*string { return []*string{in.PipelineName} }))
}

// triggerOf tells what started an execution: EventBridge, which acts in a role
// session named after its rule, or a caller.
func triggerOf(c *wire.Call) types.ExecutionTrigger {
	if p := c.Principal; p.Type == authz.AssumedRole {
		if rule, ok := strings.CutPrefix(p.ARN[strings.LastIndexByte(p.ARN, '/')+1:], "AWSEvents_"); ok {
			return types.ExecutionTrigger{TriggerType: types.TriggerTypeCloudWatchEvent, TriggerDetail: new(c.ARN("events", "rule/"+rule))}
		}
	}
	return types.ExecutionTrigger{TriggerType: types.TriggerTypeStartPipelineExecution, TriggerDetail: &c.Principal.ARN}
}

// StartPipelineExecution starts an execution with the newest revisions, or
// those that are named. The same request token starts one.
func (s *Service) StartPipelineExecution(ctx context.Context, in *sdk.StartPipelineExecutionInput) (*sdk.StartPipelineExecutionOutput, error) {
	c := wire.CallOf(ctx)
	var id string
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		p, err := s.load(tx, c.Region, *in.Name)
		if err != nil {
			return err
		}
		if in.ClientRequestToken != nil {
			known, ok, err := requests.Get(tx, idKey(p.Region, p.Name, *in.ClientRequestToken))
			if id = known; err != nil || ok {
				return err
			}
		}
		d, err := declaration(tx, p.Region, p.Name, p.Version)
		if err != nil {
			return err
		}
		vars, err := given(d, in.Variables)
		if err != nil {
			return err
		}
		if err := overrides(d, in.SourceRevisions); err != nil {
			return err
		}
		if id, err = s.begin(tx, &p, d, triggerOf(c), vars, in.SourceRevisions); err != nil || in.ClientRequestToken == nil {
			return err
		}
		return requests.Put(tx, idKey(p.Region, p.Name, *in.ClientRequestToken), id)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.StartPipelineExecutionOutput{PipelineExecutionId: &id}, nil
}

// given makes the values of a pipeline's variables.
func given(d types.PipelineDeclaration, set []types.PipelineVariable) ([]types.ResolvedPipelineVariable, error) {
	values := map[string]string{}
	for _, v := range set {
		if !slices.ContainsFunc(d.Variables, func(k types.PipelineVariableDeclaration) bool { return *k.Name == *v.Name }) {
			return nil, invalid("Variable '" + *v.Name + "' is not declared in pipeline '" + *d.Name + "'")
		}
		if _, twice := values[*v.Name]; twice {
			return nil, invalid("Variable '" + *v.Name + "' is given more than once")
		}
		values[*v.Name] = *v.Value
	}
	out := []types.ResolvedPipelineVariable{}
	for _, v := range d.Variables {
		value, ok := values[*v.Name]
		if !ok && v.DefaultValue != nil {
			value, ok = *v.DefaultValue, true
		}
		if !ok {
			return nil, invalid("Variable '" + *v.Name + "' has no default value and must be given")
		}
		out = append(out, types.ResolvedPipelineVariable{Name: v.Name, ResolvedValue: &value})
	}
	return out, nil
}

// overrides judges the revisions that an execution is to have.
func overrides(d types.PipelineDeclaration, all []types.SourceRevisionOverride) error {
	fits := map[string]types.SourceRevisionType{"CodeCommit": types.SourceRevisionTypeCommitId, "S3": types.SourceRevisionTypeS3ObjectVersionId}
	for i, o := range all {
		at := slices.IndexFunc(d.Stages[0].Actions, func(a types.ActionDeclaration) bool { return *a.Name == *o.ActionName })
		switch {
		case at < 0:
			return invalid("Source revision override: pipeline '" + *d.Name + "' has no source action '" + *o.ActionName + "'")
		case slices.ContainsFunc(all[:i], func(b types.SourceRevisionOverride) bool {
			return *b.ActionName == *o.ActionName && b.RevisionType == o.RevisionType
		}):
			return invalid("Source revision override: action '" + *o.ActionName + "' is named more than once")
		}
		a := d.Stages[0].Actions[at]
		byKey := o.RevisionType == types.SourceRevisionTypeS3ObjectKey && a.Configuration["AllowOverrideForS3ObjectKey"] == "true"
		if fits[*a.ActionTypeId.Provider] != o.RevisionType && !byKey {
			return invalid("Source revision override: revision type " + string(o.RevisionType) + " does not fit action '" + *o.ActionName + "'")
		}
	}
	return nil
}
