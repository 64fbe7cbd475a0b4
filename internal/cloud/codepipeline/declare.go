package codepipeline

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
)

func badStructure(format string, args ...any) error {
	return &types.InvalidStructureException{Message: new(fmt.Sprintf(format, args...))}
}

func badStage(format string, args ...any) error {
	return &types.InvalidStageDeclarationException{Message: new(fmt.Sprintf(format, args...))}
}

func badAction(format string, args ...any) error {
	return &types.InvalidActionDeclarationException{Message: new(fmt.Sprintf(format, args...))}
}

// Quotas of a pipeline.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
const (
	maxStages       = 50
	maxStageActions = 50
	maxActions      = 500
	maxValue        = 1000 // characters of a configuration value
)

// A checker judges one declaration from its first stage to its last.
type checker struct {
	s         *Service
	d         *types.PipelineDeclaration
	region    string
	artifacts map[string]string // the action that makes each
	spaces    map[string]bool   // namespaces of the actions so far
}

// complete fills in the defaults that AWS gives back.
func complete(d *types.PipelineDeclaration) {
	d.PipelineType = cmp.Or(d.PipelineType, types.PipelineTypeV1)
	d.ExecutionMode = cmp.Or(d.ExecutionMode, types.ExecutionModeSuperseded)
	for i := range d.Stages {
		for j := range d.Stages[i].Actions {
			a := &d.Stages[i].Actions[j]
			if a.RunOrder == nil {
				a.RunOrder = aws.Int32(1)
			}
			if a.Configuration == nil {
				a.Configuration = map[string]string{}
			}
			if a.InputArtifacts == nil {
				a.InputArtifacts = []types.InputArtifact{}
			}
			if a.OutputArtifacts == nil {
				a.OutputArtifacts = []types.OutputArtifact{}
			}
		}
	}
}

// check judges a complete declaration.
func (s *Service) check(region string, d *types.PipelineDeclaration) error {
	c := &checker{s: s, d: d, region: region, artifacts: map[string]string{}, spaces: map[string]bool{}}
	if err := c.whole(); err != nil {
		return err
	}
	stages, actions := map[string]bool{}, 0
	for i, st := range d.Stages {
		if stages[*st.Name] {
			return badStructure("Stage name must be unique within a pipeline. The stage name '%s' has been used more than once", *st.Name)
		}
		stages[*st.Name] = true
		if err := c.stage(i, st); err != nil {
			return err
		}
		actions += len(st.Actions)
	}
	if actions > maxActions {
		return &types.LimitExceededException{Message: new(fmt.Sprintf("Pipeline has %d actions. There should be a maximum of %d actions in a pipeline", actions, maxActions))}
	}
	return nil
}

// whole judges what is not in the stages.
func (c *checker) whole() error {
	d := c.d
	switch n := len(d.Stages); {
	case n < 2:
		return badStructure("Pipeline has only %d stage(s). There should be a minimum of 2 stages in a pipeline", n)
	case n > maxStages:
		return &types.LimitExceededException{Message: new(fmt.Sprintf("Pipeline has %d stages. There should be a maximum of %d stages in a pipeline", n, maxStages))}
	case (d.ArtifactStore == nil) == (len(d.ArtifactStores) == 0):
		return badStructure("Pipeline must have exactly one of artifactStore or artifactStores")
	case d.ArtifactStore == nil && storeOf(*d, c.region) == nil:
		return badStructure("Artifact store for region '%s' of the pipeline is not specified", c.region)
	case d.PipelineType == types.PipelineTypeV1 && d.ExecutionMode != types.ExecutionModeSuperseded:
		return badStructure("Pipeline type V1 does not support execution mode %s", d.ExecutionMode)
	case d.PipelineType == types.PipelineTypeV1 && len(d.Variables) > 0:
		return badStructure("Pipeline type V1 does not support pipeline-level variables")
	case len(d.Triggers) > 0:
		return badStructure("The embedded cloud has no source connections, which triggers need; use an EventBridge rule with the pipeline as its target")
	}
	if err := checkStores(d.ArtifactStores); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, v := range d.Variables {
		if seen[*v.Name] {
			return badStructure("Pipeline variable names must be unique. The variable name '%s' has been used more than once", *v.Name)
		}
		seen[*v.Name] = true
	}
	return nil
}

var bucketName = regexp.MustCompile(`^[a-zA-Z0-9\-.]{3,63}$`)

// checkStores judges the members of stores by region, which declarationRules
// cannot name.
func checkStores(all map[string]types.ArtifactStore) error {
	for region, st := range all {
		switch {
		case st.Type != types.ArtifactStoreTypeS3:
			return invalid("Artifact store for region '" + region + "': type must be S3")
		case st.Location == nil || !bucketName.MatchString(*st.Location):
			return invalid("Artifact store for region '" + region + "': location must be the name of a bucket")
		case st.EncryptionKey != nil && (aws.ToString(st.EncryptionKey.Id) == "" || st.EncryptionKey.Type != types.EncryptionKeyTypeKms):
			return invalid("Artifact store for region '" + region + "': encryptionKey must have an id and the type KMS")
		}
	}
	return nil
}

// storeOf is the artifact store of a region; nil: there is none.
func storeOf(d types.PipelineDeclaration, region string) *types.ArtifactStore {
	if d.ArtifactStore != nil {
		return d.ArtifactStore
	}
	if st, ok := d.ArtifactStores[region]; ok {
		return &st
	}
	return nil
}

func (c *checker) stage(i int, st types.StageDeclaration) error {
	switch n := len(st.Actions); {
	case n == 0:
		return badStage("Stage '%s' has no actions. There should be a minimum of 1 action in a stage", *st.Name)
	case n > maxStageActions:
		return &types.LimitExceededException{Message: new(fmt.Sprintf("Stage '%s' has %d actions. There should be a maximum of %d actions in a stage", *st.Name, n, maxStageActions))}
	case len(st.Blockers) > 0:
		return &types.InvalidBlockerDeclarationException{Message: new("Blockers are reserved for future use: stage '" + *st.Name + "' must not declare any")}
	case st.BeforeEntry != nil, st.OnSuccess != nil, st.OnFailure != nil && len(st.OnFailure.Conditions) > 0:
		return badStage("Stage '%s' has conditions with rules, which the embedded cloud does not evaluate", *st.Name)
	}
	if f := st.OnFailure; f != nil {
		switch {
		case c.d.PipelineType == types.PipelineTypeV1:
			return badStage("Pipeline type V1 does not support onFailure in stage '%s'", *st.Name)
		case f.Result == types.ResultRollback && i == 0:
			return badStage("The first stage '%s' cannot be rolled back", *st.Name)
		case f.Result == types.ResultSkip:
			return badStage("SKIP is not a result of onFailure in stage '%s'", *st.Name)
		}
	}
	names := map[string]bool{}
	for _, a := range st.Actions {
		if names[*a.Name] {
			return badStructure("Action name must be unique within a stage. The action name '%s' has been used more than once in stage '%s'", *a.Name, *st.Name)
		}
		names[*a.Name] = true
		source := a.ActionTypeId.Category == types.ActionCategorySource
		if i == 0 && !source {
			return badStructure("Pipeline should start with a stage that only contains source actions")
		}
		if i > 0 && source {
			return badStructure("Only first stage can contain source actions. Action '%s' in stage '%s' is a source action", *a.Name, *st.Name)
		}
	}
	return c.actions(st)
}

// actions judges the actions of a stage in the order in which they run: what
// one makes, those of a higher runOrder can use.
func (c *checker) actions(st types.StageDeclaration) error {
	for _, group := range groups(st) {
		for _, a := range group {
			if err := c.action(st, a); err != nil {
				return err
			}
		}
		for _, a := range group {
			if err := c.makes(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// groups are the actions of a stage by runOrder: those of one group run at the
// same time, after those of the group before.
func groups(st types.StageDeclaration) [][]types.ActionDeclaration {
	sorted := slices.Clone(st.Actions)
	slices.SortStableFunc(sorted, func(a, b types.ActionDeclaration) int { return cmp.Compare(*a.RunOrder, *b.RunOrder) })
	var all [][]types.ActionDeclaration
	for i, a := range sorted {
		if i == 0 || *a.RunOrder != *sorted[i-1].RunOrder {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], a)
	}
	return all
}

// makes takes note of what an action gives to later ones.
func (c *checker) makes(a types.ActionDeclaration) error {
	for _, o := range a.OutputArtifacts {
		if by := c.artifacts[*o.Name]; by != "" {
			return badAction("Output Artifact Bundle name must be unique within a pipeline. %s has been used more than once: in actions %s and %s", *o.Name, by, *a.Name)
		}
		c.artifacts[*o.Name] = *a.Name
	}
	if a.Namespace != nil {
		if c.spaces[*a.Namespace] || *a.Namespace == pipelineSpace || *a.Namespace == variableSpace {
			return badAction("Namespace '%s' of action '%s' is reserved or has been used more than once", *a.Namespace, *a.Name)
		}
		c.spaces[*a.Namespace] = true
	}
	return nil
}

func (c *checker) action(st types.StageDeclaration, a types.ActionDeclaration) error {
	t := a.ActionTypeId
	p := c.s.provider(*t)
	switch {
	case p == nil:
		return badAction("ActionType (Category: '%s', Provider: '%s', Owner: '%s', Version: '%s') in action '%s' is not available in region '%s'. The embedded cloud serves %s, each of owner AWS and version 1",
			t.Category, *t.Provider, t.Owner, *t.Version, *a.Name, strings.ToUpper(strings.ReplaceAll(c.region, "-", "_")), c.s.served())
	case p.v2 && c.d.PipelineType == types.PipelineTypeV1:
		return badAction("ActionType (Category: '%s', Provider: '%s', Owner: '%s', Version: '%s') in action '%s' is available in pipelines of type V2 only", t.Category, *t.Provider, t.Owner, *t.Version, *a.Name)
	case a.Region != nil && *a.Region != c.region:
		return badAction("Action '%s' is in region '%s': the embedded cloud runs actions in the region of their pipeline, '%s', only", *a.Name, *a.Region, c.region)
	case len(a.Commands) > 0 || len(a.OutputVariables) > 0 || len(a.EnvironmentVariables) > 0:
		return badAction("Action '%s' of provider '%s' does not support commands, output variables or environment variables", *a.Name, *t.Provider)
	}
	if err := p.inputs.check("input", *a.Name, len(a.InputArtifacts)); err != nil {
		return err
	}
	if err := p.outputs.check("output", *a.Name, len(a.OutputArtifacts)); err != nil {
		return err
	}
	for _, in := range a.InputArtifacts {
		if c.artifacts[*in.Name] == "" {
			return badAction("Input Artifact Bundle %s in action %s is not declared as Output Artifact Bundle in any of the preceding actions", *in.Name, *a.Name)
		}
	}
	if err := p.configured(a); err != nil {
		return err
	}
	return c.references(st, a)
}

func (l limits) check(what, action string, n int) error {
	switch {
	case n < l.least:
		return badAction("Action %s declares %d %s artifacts which is less than the minimum count (%d)", action, n, what, l.least)
	case n > l.most:
		return badAction("Action %s declares %d %s artifacts which is more than the maximum count (%d)", action, n, what, l.most)
	}
	return nil
}

// configured judges an action's configuration.
func (p *provider) configured(a types.ActionDeclaration) error {
	for name, v := range a.Configuration {
		if !slices.ContainsFunc(p.keys, func(k key) bool { return k.name == name }) {
			return badAction("Action configuration for action '%s' contains unknown configuration '%s'", *a.Name, name)
		}
		if n := len([]rune(v)); n == 0 || n > maxValue {
			return badAction("Action configuration for action '%s': the value of '%s' has %d characters and must have 1 to %d", *a.Name, name, n, maxValue)
		}
	}
	for _, k := range p.keys {
		if k.required && a.Configuration[k.name] == "" {
			return badAction("Action configuration for action '%s' is missing required configuration '%s'", *a.Name, k.name)
		}
	}
	if p.check != nil {
		if problem := p.check(a); problem != "" {
			return badAction("Action configuration for action '%s' is not valid: %s", *a.Name, problem)
		}
	}
	return nil
}

// references judges the variables that a configuration names.
func (c *checker) references(st types.StageDeclaration, a types.ActionDeclaration) error {
	const format = "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.). The following pipeline execution variables are referencing a namespace that does not exist. StageName=[%s], ActionName=[%s], ActionConfigurationKey=[%s], VariableReferenceText=[%s]"
	for name, v := range a.Configuration {
		for _, m := range reference.FindAllStringSubmatch(v, -1) {
			space, variable, dotted := strings.Cut(m[1], ".")
			known := c.spaces[space] || space == pipelineSpace && variable == executionVariable ||
				space == variableSpace && slices.ContainsFunc(c.d.Variables, func(d types.PipelineVariableDeclaration) bool { return *d.Name == variable })
			if !dotted || !known {
				return badAction(format, *st.Name, *a.Name, name, m[1])
			}
		}
	}
	return nil
}
