package codepipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// declarationRules are the constraints of a declaration's members.
var declarationRules = []string{
	"Pipeline!", "Pipeline.Name!" + nameRule, "Pipeline.RoleArn!" + roleRule, "Pipeline.Stages!", "Pipeline.Version 1..",
	"Pipeline.ArtifactStore.Type! S3", `Pipeline.ArtifactStore.Location! 3..63 [a-zA-Z0-9\-\.]+`, "Pipeline.ArtifactStore.EncryptionKey.Id! 1..400", "Pipeline.ArtifactStore.EncryptionKey.Type! KMS",
	"Pipeline.ExecutionMode QUEUED|SUPERSEDED|PARALLEL", "Pipeline.PipelineType V1|V2", "Pipeline.Variables 0..50", "Pipeline.Triggers 0..50",
	`Pipeline.Variables[].Name! 1..128 [A-Za-z0-9@\-_]+`, "Pipeline.Variables[].DefaultValue 1..1000 .*", "Pipeline.Variables[].Description 0..200 .*",
	"Pipeline.Stages[].Name!" + nameRule, "Pipeline.Stages[].Actions!", "Pipeline.Stages[].Actions[].Name!" + nameRule,
	"Pipeline.Stages[].OnFailure.Result ROLLBACK|FAIL|RETRY|SKIP", "Pipeline.Stages[].OnFailure.RetryConfiguration.RetryMode FAILED_ACTIONS|ALL_ACTIONS",
	"Pipeline.Stages[].Actions[].ActionTypeId!", "Pipeline.Stages[].Actions[].ActionTypeId.Category! Source|Build|Deploy|Test|Invoke|Approval|Compute",
	"Pipeline.Stages[].Actions[].ActionTypeId.Owner! AWS|ThirdParty|Custom", `Pipeline.Stages[].Actions[].ActionTypeId.Provider! 1..35 [0-9A-Za-z_-]+`,
	`Pipeline.Stages[].Actions[].ActionTypeId.Version! 1..9 [0-9A-Za-z_-]+`, "Pipeline.Stages[].Actions[].RunOrder 1..999",
	`Pipeline.Stages[].Actions[].Namespace 1..100 [A-Za-z0-9@\-_]+`, "Pipeline.Stages[].Actions[].Region 4..30", "Pipeline.Stages[].Actions[].RoleArn" + roleRule,
	"Pipeline.Stages[].Actions[].TimeoutInMinutes 5..86400", `Pipeline.Stages[].Actions[].InputArtifacts[].Name! 1..100 [a-zA-Z0-9_\-]+`,
	`Pipeline.Stages[].Actions[].OutputArtifacts[].Name! 1..100 [a-zA-Z0-9_\-]+`, "Pipeline.Stages[].Actions[].OutputArtifacts[].Files 1..10",
}

func (s *Service) registerPipelines(api *wire.API) {
	wire.Handle(api, s.CreatePipeline, wire.Members(append([]string{"Tags[].Key! 1..128", "Tags[].Value 0..256"}, declarationRules...)...),
		wire.Needs(func(c *wire.Call, in *sdk.CreatePipelineInput) []authz.Access {
			all := changing(c, in.Pipeline)
			all[0].Context = requestTags(in.Tags)
			return all
		}))
	wire.Handle(api, s.UpdatePipeline, wire.Members(declarationRules...),
		wire.Needs(func(c *wire.Call, in *sdk.UpdatePipelineInput) []authz.Access { return changing(c, in.Pipeline) }))
	wire.Handle(api, s.GetPipeline, wire.Members("Name!"+nameRule, "Version 1.."), on(func(in *sdk.GetPipelineInput) []*string { return []*string{in.Name} }))
	wire.Handle(api, s.DeletePipeline, wire.Members("Name!"+nameRule), on(func(in *sdk.DeletePipelineInput) []*string { return []*string{in.Name} }))
	wire.Handle(api, s.ListPipelines, wire.Members(tokenRule, "MaxResults 1..1000"), on(func(*sdk.ListPipelinesInput) []*string { return []*string{new("*")} }))
	wire.Handle(api, s.ListActionTypes, wire.Members(tokenRule, "ActionOwnerFilter AWS|ThirdParty|Custom", "RegionFilter 4..30"))
}

// changing is what making or changing a pipeline needs: its roles are passed
// to the service.
func changing(c *wire.Call, d *types.PipelineDeclaration) []authz.Access {
	all := []authz.Access{{Action: "codepipeline:" + c.Op, Resource: c.ARN("codepipeline", *d.Name)}}
	for _, role := range rolesOf(d) {
		all = append(all, authz.Access{Action: "iam:PassRole", Resource: role, Context: map[string][]string{"iam:PassedToService": {"codepipeline.amazonaws.com"}}})
	}
	return all
}

// rolesOf are the pipeline's role and those of single actions.
func rolesOf(d *types.PipelineDeclaration) []string {
	all := []string{*d.RoleArn}
	for _, st := range d.Stages {
		for _, a := range st.Actions {
			if a.RoleArn != nil && !slices.Contains(all, *a.RoleArn) {
				all = append(all, *a.RoleArn)
			}
		}
	}
	return all
}

// accept completes a declaration and judges it, and whether the service may
// assume its role.
func (s *Service) accept(ctx context.Context, d *types.PipelineDeclaration) error {
	region := wire.CallOf(ctx).Region
	complete(d)
	if err := s.check(region, d); err != nil {
		return err
	}
	_, err := wire.AssumeRole(ctx, s.Caller, "codepipeline", s.arn(region, *d.Name), *d.RoleArn, sessionName(*d.Name), region)
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorFault() != smithy.FaultServer {
		return badStructure("CodePipeline is not authorized to perform AssumeRole on role %s", *d.RoleArn)
	}
	return err
}

// CreatePipeline makes a pipeline and starts its first execution.
func (s *Service) CreatePipeline(ctx context.Context, in *sdk.CreatePipelineInput) (*sdk.CreatePipelineOutput, error) {
	c, d := wire.CallOf(ctx), *in.Pipeline
	tags, err := newTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	inUse := func(tx *store.Tx) error {
		_, taken, err := pipelines.Get(tx, pipelineKey(c.Region, *d.Name))
		if err == nil && taken {
			err = &types.PipelineNameInUseException{Message: new("A pipeline with the name '" + *d.Name + "' already exists in account '" + s.Account + "'")}
		}
		return err
	}
	if err := s.DB.View(inUse); err != nil {
		return nil, err
	}
	if err := s.accept(ctx, &d); err != nil {
		return nil, err
	}
	d.Version = aws.Int32(1)
	now := time.Now()
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if err := inUse(tx); err != nil {
			return err
		}
		p := pipeline{Name: *d.Name, Region: c.Region, Created: now, Updated: now, Version: 1, Tags: tags}
		if err := versions.Put(tx, versionKey(c.Region, *d.Name, 1), d); err != nil {
			return err
		}
		if err := s.watch(tx, c.Region, d); err != nil {
			return err
		}
		_, err := s.begin(tx, &p, d, types.ExecutionTrigger{TriggerType: types.TriggerTypeCreatePipeline, TriggerDetail: &c.Principal.ARN}, nil, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &sdk.CreatePipelineOutput{Pipeline: &d, Tags: in.Tags}, nil
}

// UpdatePipeline gives a pipeline a new structure, as its next version.
// Executions under way go on in the structure in which they began.
func (s *Service) UpdatePipeline(ctx context.Context, in *sdk.UpdatePipelineInput) (*sdk.UpdatePipelineOutput, error) {
	c, d := wire.CallOf(ctx), *in.Pipeline
	if err := s.DB.View(func(tx *store.Tx) error { _, err := s.load(tx, c.Region, *d.Name); return err }); err != nil {
		return nil, err
	}
	if err := s.accept(ctx, &d); err != nil {
		return nil, err
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		p, err := s.load(tx, c.Region, *d.Name)
		if err != nil {
			return err
		}
		p.Version++
		p.Updated = time.Now()
		d.Version = &p.Version
		if err := versions.Put(tx, versionKey(c.Region, *d.Name, p.Version), d); err != nil {
			return err
		}
		if err := s.watch(tx, c.Region, d); err != nil {
			return err
		}
		return s.save(tx, &p)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.UpdatePipelineOutput{Pipeline: &d}, nil
}

// save writes a pipeline's row and tells who waits for changes of it.
func (s *Service) save(tx *store.Tx, p *pipeline) error {
	tx.OnCommit(func() { s.Signals.Notify(s.arn(p.Region, p.Name)) })
	return pipelines.Put(tx, pipelineKey(p.Region, p.Name), *p)
}

// GetPipeline returns the structure of a pipeline, now or as it was.
func (s *Service) GetPipeline(ctx context.Context, in *sdk.GetPipelineInput) (out *sdk.GetPipelineOutput, err error) {
	region := wire.CallOf(ctx).Region
	err = s.DB.View(func(tx *store.Tx) error {
		p, err := s.load(tx, region, *in.Name)
		if err != nil {
			return err
		}
		v := p.Version
		if in.Version != nil {
			v = *in.Version
		}
		d, ok, err := versions.Get(tx, versionKey(region, *in.Name, v))
		if err == nil && !ok {
			err = &types.PipelineVersionNotFoundException{Message: new("The specified pipeline version was not found")}
		}
		out = &sdk.GetPipelineOutput{Pipeline: &d, Metadata: &types.PipelineMetadata{PipelineArn: new(s.arn(region, p.Name)), Created: &p.Created, Updated: &p.Updated}}
		return err
	})
	return out, err
}

// ListPipelines lists the pipelines of the region by name.
func (s *Service) ListPipelines(ctx context.Context, in *sdk.ListPipelinesInput) (*sdk.ListPipelinesOutput, error) {
	prefix := wire.CallOf(ctx).Region + "/"
	last, err := after(in.NextToken, "pipelines")
	if err != nil {
		return nil, err
	}
	all := []types.PipelineSummary{}
	err = s.DB.View(func(tx *store.Tx) error {
		for r, err := range pipelines.Range(tx, prefix+last, store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			p := r.Value
			if p.Name == last {
				continue
			}
			d, err := declaration(tx, p.Region, p.Name, p.Version)
			if err != nil {
				return err
			}
			all = append(all, types.PipelineSummary{Name: &p.Name, Version: &p.Version, PipelineType: d.PipelineType, ExecutionMode: d.ExecutionMode, Created: &p.Created, Updated: &p.Updated})
		}
		return nil
	})
	items, next := page(all, in.MaxResults, 1000, "pipelines", func(p types.PipelineSummary) string { return *p.Name })
	return &sdk.ListPipelinesOutput{Pipelines: items, NextToken: next}, err
}

// DeletePipeline removes a pipeline with its history; one that is not there is
// no error. A build that it awaits is stopped, if its role may do that.
func (s *Service) DeletePipeline(ctx context.Context, in *sdk.DeletePipelineInput) (*sdk.DeletePipelineOutput, error) {
	region, name := wire.CallOf(ctx).Region, *in.Name
	return &sdk.DeletePipelineOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		tx.OnCommit(func() { s.Signals.Notify(s.arn(region, name)) })
		prefix := pipelineKey(region, name) + "\x00"
		if err := s.forgetRuns(tx, prefix); err != nil {
			return err
		}
		return errors.Join(pipelines.Delete(tx, pipelineKey(region, name)), s.Tasks.Finish(tx, pollKind, pipelineKey(region, name)), wipe(tx, versions, prefix), wipe(tx, executions, prefix), wipe(tx, ids, prefix), wipe(tx, requests, prefix), wipe(tx, approvals, prefix))
	})
}

// wipe removes the rows under a prefix.
func wipe[V any](tx *store.Tx, t store.Table[V], prefix string) error {
	var keys []string
	for r, err := range t.Prefix(tx, prefix) {
		if err != nil {
			return err
		}
		keys = append(keys, r.Key)
	}
	for _, k := range keys {
		if err := t.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// forgetRuns ends the deadlines and jobs of a pipeline's runs. Their tasks
// find nothing any more, and end too.
func (s *Service) forgetRuns(tx *store.Tx, prefix string) error {
	var all []string
	for r, err := range executions.Prefix(tx, prefix) {
		if err != nil {
			return err
		}
		for _, run := range r.Value.Runs {
			all = append(all, run.ID)
		}
	}
	for _, id := range all {
		if err := errors.Join(s.Tasks.Finish(tx, deadlineKind, id), jobs.Delete(tx, id)); err != nil {
			return err
		}
	}
	return nil
}
