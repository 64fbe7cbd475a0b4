package codepipeline

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
)

func TestDeclarationsAreJudged(t *testing.T) {
	first := func(d *types.PipelineDeclaration) *types.ActionDeclaration { return &d.Stages[0].Actions[0] }
	compile := func(d *types.PipelineDeclaration) *types.ActionDeclaration { return &d.Stages[1].Actions[0] }
	for name, c := range map[string]struct {
		change func(*types.PipelineDeclaration)
		code   string
		text   string
	}{
		"one stage": {func(d *types.PipelineDeclaration) { d.Stages = d.Stages[:1] }, "InvalidStructureException", "Pipeline has only 1 stage(s). There should be a minimum of 2 stages in a pipeline"},
		"no store":  {func(d *types.PipelineDeclaration) { d.ArtifactStore = nil }, "InvalidStructureException", "exactly one of artifactStore or artifactStores"},
		"two kinds of store": {func(d *types.PipelineDeclaration) {
			d.ArtifactStores = map[string]types.ArtifactStore{region: *d.ArtifactStore}
		}, "InvalidStructureException", "exactly one of"},
		"store of another region": {func(d *types.PipelineDeclaration) {
			d.ArtifactStores, d.ArtifactStore = map[string]types.ArtifactStore{"eu-west-1": *d.ArtifactStore}, nil
		}, "InvalidStructureException", "'us-east-1'"},
		"store without a bucket": {func(d *types.PipelineDeclaration) {
			d.ArtifactStores, d.ArtifactStore = map[string]types.ArtifactStore{region: {Type: types.ArtifactStoreTypeS3}}, nil
		}, "ValidationException", "location must be the name of a bucket"},
		"same stage twice": {func(d *types.PipelineDeclaration) { d.Stages[2].Name = d.Stages[1].Name }, "InvalidStructureException", "Stage name must be unique"},
		"same action twice": {func(d *types.PipelineDeclaration) {
			d.Stages[1].Actions = append(d.Stages[1].Actions, d.Stages[1].Actions[0])
		}, "InvalidStructureException", "Action name must be unique"},
		"empty stage":           {func(d *types.PipelineDeclaration) { d.Stages[1].Actions = nil }, "InvalidStageDeclarationException", "has no actions"},
		"no source first":       {func(d *types.PipelineDeclaration) { d.Stages = d.Stages[1:] }, "InvalidStructureException", "Pipeline should start with a stage that only contains source actions"},
		"source later":          {func(d *types.PipelineDeclaration) { d.Stages[2].Actions[0] = source("Again") }, "InvalidStructureException", "Only first stage can contain source actions"},
		"queued V1":             {func(d *types.PipelineDeclaration) { d.PipelineType = types.PipelineTypeV1 }, "InvalidStructureException", "QUEUED"},
		"unknown provider":      {func(d *types.PipelineDeclaration) { compile(d).ActionTypeId.Provider = new("Jenkins") }, "InvalidActionDeclarationException", "ActionType (Category: 'Build', Provider: 'Jenkins', Owner: 'AWS', Version: '1') in action 'compile' is not available in region 'US_EAST_1'. The embedded cloud serves Source/CodeCommit"},
		"artifact from nowhere": {func(d *types.PipelineDeclaration) { compile(d).InputArtifacts[0].Name = new("Nothing") }, "InvalidActionDeclarationException", "Input Artifact Bundle Nothing in action compile is not declared as Output Artifact Bundle in any of the preceding actions"},
		"artifact of its own time": {func(d *types.PipelineDeclaration) {
			a := build("other")
			a.InputArtifacts[0].Name = new("Built")
			d.Stages[1].Actions = append(d.Stages[1].Actions, a)
		}, "InvalidActionDeclarationException", "Input Artifact Bundle Built in action other"},
		"artifact made twice": {func(d *types.PipelineDeclaration) {
			d.Stages[2].Actions[0].OutputArtifacts = []types.OutputArtifact{{Name: new("Built")}}
		}, "InvalidActionDeclarationException", "Built has been used more than once"},
		"no output":             {func(d *types.PipelineDeclaration) { first(d).OutputArtifacts = nil }, "InvalidActionDeclarationException", "declares 0 output artifacts which is less than the minimum count (1)"},
		"missing configuration": {func(d *types.PipelineDeclaration) { delete(compile(d).Configuration, "ProjectName") }, "InvalidActionDeclarationException", "Action configuration for action 'compile' is missing required configuration 'ProjectName'"},
		"unknown configuration": {func(d *types.PipelineDeclaration) { compile(d).Configuration["Colour"] = "red" }, "InvalidActionDeclarationException", "contains unknown configuration 'Colour'"},
		"long configuration": {func(d *types.PipelineDeclaration) {
			compile(d).Configuration["ProjectName"] = strings.Repeat("x", 1001)
		}, "InvalidActionDeclarationException", "1001 characters"},
		"environment": {func(d *types.PipelineDeclaration) { compile(d).Configuration[environmentKey] = "A=1" }, "InvalidActionDeclarationException", "JSON array"},
		"no primary source": {func(d *types.PipelineDeclaration) {
			d.Stages[2].Actions[0].InputArtifacts = []types.InputArtifact{{Name: new("Source")}, {Name: new("Built")}}
		}, "InvalidActionDeclarationException", "PrimarySource is required"},
		"batch": {func(d *types.PipelineDeclaration) { compile(d).Configuration["BatchEnabled"] = "true" }, "InvalidActionDeclarationException", "no batch builds"},
		"clone": {func(d *types.PipelineDeclaration) {
			first(d).Configuration["OutputArtifactFormat"] = "CODEBUILD_CLONE_REF"
		}, "InvalidActionDeclarationException", "CODE_ZIP only"},
		"unknown namespace":   {func(d *types.PipelineDeclaration) { compile(d).Configuration["BuildspecOverride"] = "#{Nope.X}" }, "InvalidActionDeclarationException", "VariableReferenceText=[Nope.X]"},
		"undeclared variable": {func(d *types.PipelineDeclaration) { compile(d).Configuration["BuildspecOverride"] = "#{variables.x}" }, "InvalidActionDeclarationException", "VariableReferenceText=[variables.x]"},
		"namespace twice":     {func(d *types.PipelineDeclaration) { compile(d).Namespace = new("Src") }, "InvalidActionDeclarationException", "Namespace 'Src'"},
		"reserved namespace":  {func(d *types.PipelineDeclaration) { compile(d).Namespace = new("codepipeline") }, "InvalidActionDeclarationException", "Namespace 'codepipeline'"},
		"other region":        {func(d *types.PipelineDeclaration) { compile(d).Region = new("eu-west-1") }, "InvalidActionDeclarationException", "'eu-west-1'"},
		"rules":               {func(d *types.PipelineDeclaration) { d.Stages[1].OnSuccess = &types.SuccessConditions{} }, "InvalidStageDeclarationException", "conditions"},
		"blocker":             {func(d *types.PipelineDeclaration) { d.Stages[1].Blockers = []types.BlockerDeclaration{{}} }, "InvalidBlockerDeclarationException", "Blockers"},
		"source rolled back": {func(d *types.PipelineDeclaration) {
			d.Stages[0].OnFailure = &types.FailureConditions{Result: types.ResultRollback}
		}, "InvalidStageDeclarationException", "cannot be rolled back"},
		"variable twice": {func(d *types.PipelineDeclaration) {
			d.Variables = []types.PipelineVariableDeclaration{{Name: new("a")}, {Name: new("a")}}
		}, "InvalidStructureException", "must be unique"},
		"too many stages": {func(d *types.PipelineDeclaration) {
			for range 60 {
				d.Stages = append(d.Stages, d.Stages[2])
			}
		}, "LimitExceededException", "maximum of 50"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				d := shop()
				c.change(d)
				_, err := r.CreatePipeline(r.ctx, &sdk.CreatePipelineInput{Pipeline: d})
				if code(err) != c.code || !strings.Contains(err.Error(), c.text) {
					t.Errorf("got  %v\nwant %s: %s", err, c.code, c.text)
				}
			})
		})
	}
}

func TestALambdaDeploymentIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		conf  map[string]string
		input bool
		v1    bool
		want  string // "" is accepted
	}{
		"of an artifact":         {conf: map[string]string{"FunctionName": "f", "FunctionAlias": "live"}, input: true},
		"linear":                 {conf: map[string]string{"FunctionName": "f", "FunctionAlias": "live", "DeployStrategy": "Linear10PercentEvery1Minute"}, input: true},
		"nothing to deploy":      {conf: map[string]string{"FunctionName": "f"}, want: "PublishedTargetVersion is required"},
		"both":                   {conf: map[string]string{"FunctionName": "f", "PublishedTargetVersion": "2"}, input: true, want: "exclude each other"},
		"strategy without alias": {conf: map[string]string{"FunctionName": "f", "DeployStrategy": "Canary10Percent5Minutes"}, input: true, want: "needs FunctionAlias"},
		"strange strategy":       {conf: map[string]string{"FunctionName": "f", "FunctionAlias": "live", "DeployStrategy": "Canary0Percent5Minutes"}, input: true, want: "must be AllAtOnce"},
		"three days":             {conf: map[string]string{"FunctionName": "f", "FunctionAlias": "live", "DeployStrategy": "Canary10Percent4320Minutes"}, input: true, want: "two days"},
		"V1":                     {conf: map[string]string{"FunctionName": "f"}, input: true, v1: true, want: "type V2 only"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				d := shop()
				a := types.ActionDeclaration{Name: new("ship"), ActionTypeId: new(awsType(types.ActionCategoryDeploy, "Lambda")), Configuration: c.conf}
				if c.input {
					a.InputArtifacts = []types.InputArtifact{{Name: new("Built")}}
				}
				if c.v1 {
					d.PipelineType, d.ExecutionMode = types.PipelineTypeV1, types.ExecutionModeSuperseded
				}
				d.Stages[2].Actions[0] = a
				_, err := r.CreatePipeline(r.ctx, &sdk.CreatePipelineInput{Pipeline: d})
				switch {
				case c.want == "" && err != nil:
					t.Error(err)
				case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
					t.Errorf("got %v, want %s", err, c.want)
				}
			})
		})
	}
}

func TestVersionsOfAPipeline(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, err := r.UpdatePipeline(r.ctx, &sdk.UpdatePipelineInput{Pipeline: shop()})
		r.expect("update of nothing", code(err), "PipelineNotFoundException")
		r.create(shop())
		_, err = r.CreatePipeline(r.ctx, &sdk.CreatePipelineInput{Pipeline: shop()})
		r.expect("create again", code(err), "PipelineNameInUseException")
		d := shop()
		d.Stages = d.Stages[:2]
		out := must(r.UpdatePipeline(r.ctx, &sdk.UpdatePipelineInput{Pipeline: d}))
		if *out.Pipeline.Version != 2 {
			t.Errorf("version %d", *out.Pipeline.Version)
		}
		now := must(r.GetPipeline(r.ctx, &sdk.GetPipelineInput{Name: new("shop")}))
		then := must(r.GetPipeline(r.ctx, &sdk.GetPipelineInput{Name: new("shop"), Version: aws.Int32(1)}))
		if len(now.Pipeline.Stages) != 2 || len(then.Pipeline.Stages) != 3 || *now.Metadata.PipelineArn != "arn:aws:codepipeline:us-east-1:123456789012:shop" {
			t.Errorf("%d stages now, %d then", len(now.Pipeline.Stages), len(then.Pipeline.Stages))
		}
		_, err = r.GetPipeline(r.ctx, &sdk.GetPipelineInput{Name: new("shop"), Version: aws.Int32(3)})
		r.expect("a version to come", code(err), "PipelineVersionNotFoundException")
		// What began in the old structure ends in it.
		r.finish("compile:1", ok)
		r.expect("old execution", r.runs(r.executions()[0]), "Checkout Succeeded, compile Succeeded, deploy InProgress")
	})
}

func TestARoleThatCannotBeAssumedIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.noRole = true
		_, err := r.CreatePipeline(r.ctx, &sdk.CreatePipelineInput{Pipeline: shop()})
		if code(err) != "InvalidStructureException" || !strings.Contains(err.Error(), "CodePipeline is not authorized to perform AssumeRole on role "+roleARN) {
			t.Error(err)
		}
	})
}

// A lister lets the SDK's paginators ask the service itself.
type lister struct{ *rig }

func (l lister) ListPipelines(ctx context.Context, in *sdk.ListPipelinesInput, _ ...func(*sdk.Options)) (*sdk.ListPipelinesOutput, error) {
	return l.Service.ListPipelines(ctx, in)
}

func (l lister) ListActionExecutions(ctx context.Context, in *sdk.ListActionExecutionsInput, _ ...func(*sdk.Options)) (*sdk.ListActionExecutionsOutput, error) {
	return l.Service.ListActionExecutions(ctx, in)
}

func TestListsArePaged(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"c", "a", "b"} {
			d := shop()
			d.Name = &name
			r.create(d)
		}
		r.create(shop())
		r.begin()
		var names []string
		p := sdk.NewListPipelinesPaginator(lister{r}, &sdk.ListPipelinesInput{MaxResults: aws.Int32(3)})
		for p.HasMorePages() {
			for _, s := range must(p.NextPage(r.ctx)).Pipelines {
				names = append(names, *s.Name)
			}
		}
		r.expect("pipelines", strings.Join(names, " "), "a b c shop")
		var runs []string
		q := sdk.NewListActionExecutionsPaginator(lister{r}, &sdk.ListActionExecutionsInput{PipelineName: new("shop"), MaxResults: aws.Int32(1)})
		for q.HasMorePages() {
			for _, s := range must(q.NextPage(r.ctx)).ActionExecutionDetails {
				runs = append(runs, *s.ActionName)
			}
		}
		r.expect("runs, newest first", strings.Join(runs, " "), "Checkout compile Checkout")
		one := must(r.ListPipelineExecutions(r.ctx, &sdk.ListPipelineExecutionsInput{PipelineName: new("shop"), MaxResults: aws.Int32(1)}))
		two := must(r.ListPipelineExecutions(r.ctx, &sdk.ListPipelineExecutionsInput{PipelineName: new("shop"), MaxResults: aws.Int32(1), NextToken: one.NextToken}))
		if len(two.PipelineExecutionSummaries) != 1 || two.NextToken != nil || *two.PipelineExecutionSummaries[0].PipelineExecutionId != r.executions()[0] {
			t.Errorf("second page: %+v", two)
		}
		_, err := r.ListPipelines(r.ctx, &sdk.ListPipelinesInput{NextToken: one.NextToken})
		r.expect("another list's token", code(err), "InvalidNextTokenException")
	})
}

func TestTags(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create(shop())
		arn := new(r.arn(region, "shop"))
		must(r.TagResource(r.ctx, &sdk.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}))
		must(r.UntagResource(r.ctx, &sdk.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a"}}))
		tags := must(r.ListTagsForResource(r.ctx, &sdk.ListTagsForResourceInput{ResourceArn: arn})).Tags
		if len(tags) != 1 || *tags[0].Key != "b" || must(r.Tagged(r.ctx, region))[*arn]["b"] != "2" {
			t.Errorf("%+v", tags)
		}
		_, err := r.TagResource(r.ctx, &sdk.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: new("aws:x"), Value: new("1")}}})
		r.expect("reserved", code(err), "InvalidTagsException")
		_, err = r.ListTagsForResource(r.ctx, &sdk.ListTagsForResourceInput{ResourceArn: new(r.arn(region, "none"))})
		r.expect("of nothing", code(err), "ResourceNotFoundException")
	})
}
