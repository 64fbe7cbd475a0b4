package resource

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/graph"
)

// pipelineAPI is what a Pipeline asks of CodePipeline.
type pipelineAPI interface {
	GetPipeline(context.Context, *codepipeline.GetPipelineInput, ...func(*codepipeline.Options)) (*codepipeline.GetPipelineOutput, error)
	CreatePipeline(context.Context, *codepipeline.CreatePipelineInput, ...func(*codepipeline.Options)) (*codepipeline.CreatePipelineOutput, error)
	UpdatePipeline(context.Context, *codepipeline.UpdatePipelineInput, ...func(*codepipeline.Options)) (*codepipeline.UpdatePipelineOutput, error)
	DeletePipeline(context.Context, *codepipeline.DeletePipelineInput, ...func(*codepipeline.Options)) (*codepipeline.DeletePipelineOutput, error)
	ListPipelineExecutions(context.Context, *codepipeline.ListPipelineExecutionsInput, ...func(*codepipeline.Options)) (*codepipeline.ListPipelineExecutionsOutput, error)
	StopPipelineExecution(context.Context, *codepipeline.StopPipelineExecutionInput, ...func(*codepipeline.Options)) (*codepipeline.StopPipelineExecutionOutput, error)
	ListTagsForResource(context.Context, *codepipeline.ListTagsForResourceInput, ...func(*codepipeline.Options)) (*codepipeline.ListTagsForResourceOutput, error)
}

var _ pipelineAPI = (*codepipeline.Client)(nil)

// A Pipeline is a CodePipeline pipeline of type V2 that takes a Branch through
// one project that builds and one that deploys. Nothing starts it but a call,
// and its own creation.
type Pipeline struct {
	CodePipeline pipelineAPI
	Owner        Owner
	Name         string
	ARN          string
	Role         *Role
	Bucket       *Bucket
	Key          *Key
	Source       *Branch
	Build        *BuildProject
	Deploy       *BuildProject
	// Uses is what the deployment works on: it must be there before the
	// pipeline, which runs as soon as it is created.
	Uses []graph.Resource
}

func (p *Pipeline) ID() string { return "codepipeline/" + p.Name }
func (p *Pipeline) Needs() []graph.Resource {
	return append([]graph.Resource{p.Role, p.Bucket, p.Key, p.Source, p.Build, p.Deploy}, p.Uses...)
}

func (p *Pipeline) Observe(ctx context.Context) (graph.Observation, error) {
	var got types.PipelineDeclaration
	var tags map[string]string
	err := together(ctx, func(ctx context.Context) error {
		out, err := p.CodePipeline.GetPipeline(ctx, &codepipeline.GetPipelineInput{Name: &p.Name})
		if err == nil {
			got = deref(out.Pipeline)
		}
		return err
	}, func(ctx context.Context) error {
		out, err := p.CodePipeline.ListTagsForResource(ctx, &codepipeline.ListTagsForResourceInput{ResourceArn: &p.ARN})
		if err == nil {
			tags = tagMap(out.Tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
		}
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read pipeline", p.Name, err)
	}
	return graph.Observation{Exists: true, Owned: p.Owner.owns(tags), Drift: p.compare(got)}, nil
}

func (p *Pipeline) compare(got types.PipelineDeclaration) (d drift) {
	want := p.declaration()
	d.add("RoleArn", p.Role.ARN, deref(got.RoleArn))
	d.add("PipelineType", string(want.PipelineType), string(got.PipelineType))
	d.add("ExecutionMode", string(want.ExecutionMode), string(got.ExecutionMode))
	store := deref(got.ArtifactStore)
	d.add("ArtifactStore.Location", p.Bucket.Name, deref(store.Location))
	d.add("ArtifactStore.EncryptionKey", orUnknown(p.Key.ARN()), deref(deref(store.EncryptionKey).Id))
	d.json("Stages", stagesJSON(want.Stages), stagesJSON(got.Stages))
	return d
}

// stagesJSON gives stages a form in which they can be compared. What
// CodePipeline fills in (runOrder 1, empty lists) is the same as not given.
func stagesJSON(stages []types.StageDeclaration) string {
	type action struct {
		Name, Category, Owner, Provider, Version, Namespace string
		RunOrder                                            int32
		Configuration                                       map[string]string
		Inputs, Outputs                                     []string
	}
	type stage struct {
		Name    string
		Actions []action
	}
	list := make([]stage, 0, len(stages))
	for _, s := range stages {
		one := stage{Name: deref(s.Name)}
		for _, a := range s.Actions {
			id := deref(a.ActionTypeId)
			act := action{
				Name: deref(a.Name), Category: string(id.Category), Owner: string(id.Owner), Provider: deref(id.Provider), Version: deref(id.Version),
				Namespace: deref(a.Namespace), RunOrder: max(1, deref(a.RunOrder)), Configuration: a.Configuration,
			}
			for _, in := range a.InputArtifacts {
				act.Inputs = append(act.Inputs, deref(in.Name))
			}
			for _, out := range a.OutputArtifacts {
				act.Outputs = append(act.Outputs, deref(out.Name))
			}
			one.Actions = append(one.Actions, act)
		}
		list = append(list, one)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		panic(fmt.Sprintf("marshal stages: %v", err)) // strings and numbers always marshal
	}
	return string(raw)
}

// Names of the artifacts that the stages hand over.
const (
	sourceArtifact = "Source"
	buildArtifact  = "Build"
)

func (p *Pipeline) declaration() *types.PipelineDeclaration {
	key := p.Key.ARN()
	return &types.PipelineDeclaration{
		Name: &p.Name, RoleArn: &p.Role.ARN, PipelineType: types.PipelineTypeV2, ExecutionMode: types.ExecutionModeSuperseded,
		ArtifactStore: &types.ArtifactStore{
			Type: types.ArtifactStoreTypeS3, Location: &p.Bucket.Name,
			EncryptionKey: &types.EncryptionKey{Id: &key, Type: types.EncryptionKeyTypeKms},
		},
		Stages: []types.StageDeclaration{
			stageOf("Source", types.ActionCategorySource, "CodeCommit", map[string]string{
				"RepositoryName": p.Source.Repository.Name, "BranchName": p.Source.Name,
				"PollForSourceChanges": "false", "OutputArtifactFormat": "CODE_ZIP",
			}, "", sourceArtifact),
			stageOf("Build", types.ActionCategoryBuild, "CodeBuild", map[string]string{"ProjectName": p.Build.Name}, sourceArtifact, buildArtifact),
			stageOf("Deploy", types.ActionCategoryBuild, "CodeBuild", map[string]string{"ProjectName": p.Deploy.Name}, buildArtifact, ""),
		},
	}
}

// stageOf is a stage of one action that has the stage's name.
func stageOf(name string, category types.ActionCategory, provider string, configuration map[string]string, in, out string) types.StageDeclaration {
	version := "1"
	a := types.ActionDeclaration{
		Name: &name, Configuration: configuration, Namespace: &name,
		ActionTypeId: &types.ActionTypeId{Category: category, Owner: types.ActionOwnerAws, Provider: &provider, Version: &version},
	}
	if in != "" {
		a.InputArtifacts = []types.InputArtifact{{Name: &in}}
	}
	if out != "" {
		a.OutputArtifacts = []types.OutputArtifact{{Name: &out}}
	}
	return types.StageDeclaration{Name: &name, Actions: []types.ActionDeclaration{a}}
}

// Create starts the first execution, by AWS's rule. It delivers what is live
// already, and nobody waits for it: so what an earlier run left in the branch
// must not be older than that.
func (p *Pipeline) Create(ctx context.Context) error {
	if err := p.Source.hold(ctx); err != nil {
		return err
	}
	_, err := p.CodePipeline.CreatePipeline(ctx, &codepipeline.CreatePipelineInput{
		Pipeline: p.declaration(),
		Tags:     tagList(p.Owner.Tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }),
	})
	return failed("create pipeline", p.Name, err)
}

func (p *Pipeline) Update(ctx context.Context, _ []graph.Diff) error {
	_, err := p.CodePipeline.UpdatePipeline(ctx, &codepipeline.UpdatePipelineInput{Pipeline: p.declaration()})
	return failed("update pipeline", p.Name, err)
}

// Delete abandons what runs, so that no action writes while the things that it
// works on are taken away.
func (p *Pipeline) Delete(ctx context.Context) error {
	if err := p.stop(ctx); err != nil && !gone(err) {
		return err
	}
	_, err := p.CodePipeline.DeletePipeline(ctx, &codepipeline.DeletePipelineInput{Name: &p.Name})
	return deleted("pipeline "+p.Name, err)
}

func (p *Pipeline) stop(ctx context.Context) error {
	reason := "the stack is being removed"
	// The newest come first, and of those in SUPERSEDED mode at most one a
	// stage and one waiting for each can be alive.
	newest := int32(20)
	out, err := p.CodePipeline.ListPipelineExecutions(ctx, &codepipeline.ListPipelineExecutionsInput{PipelineName: &p.Name, MaxResults: &newest})
	if err != nil {
		return failed("list executions of", p.Name, err)
	}
	for _, e := range out.PipelineExecutionSummaries {
		if e.Status != types.PipelineExecutionStatusInProgress && e.Status != types.PipelineExecutionStatusStopping {
			continue
		}
		_, err := p.CodePipeline.StopPipelineExecution(ctx, &codepipeline.StopPipelineExecutionInput{
			PipelineName: &p.Name, PipelineExecutionId: e.PipelineExecutionId, Abandon: true, Reason: &reason,
		})
		// It may have ended, or be stopping already, in the meantime.
		if err != nil && !gone(err) && !hasCode(err, "PipelineExecutionNotStoppableException", "DuplicatedStopRequestException") {
			return failed("stop execution", deref(e.PipelineExecutionId), err)
		}
	}
	return nil
}
