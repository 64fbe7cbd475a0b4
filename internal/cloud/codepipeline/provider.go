package codepipeline

import (
	"context"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
)

// A provider carries out actions of one type.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-pipeline-structure.html
type provider struct {
	types           []types.ActionTypeId // CodeBuild both builds and tests
	inputs, outputs limits
	keys            []key
	timeout         time.Duration // of one run, unless the action says otherwise
	v2              bool          // of V2 pipelines only
	// check judges a configuration beyond its keys; the text goes into an
	// InvalidActionDeclarationException. nil: all is said by the keys.
	check func(a types.ActionDeclaration) (problem string)
	// run carries out the action, or goes on with it: after a restart it is
	// called again with what [job.note] kept. A nil outcome means that it
	// settles by itself (an approval). A *failure fails the action.
	run func(ctx context.Context, j *job) (*outcome, error)
	// abandon ends what goes on elsewhere for an action that has ended here;
	// nil: nothing does.
	abandon func(ctx context.Context, j *job)
}

type limits struct{ least, most int }

// A key is a key of an action's configuration.
type key struct {
	name     string
	required bool
	secret   bool
}

func required(name string) key { return key{name: name, required: true} }
func optional(name string) key { return key{name: name} }

func awsType(c types.ActionCategory, name string) types.ActionTypeId {
	return types.ActionTypeId{Category: c, Owner: types.ActionOwnerAws, Provider: &name, Version: new("1")}
}

// providers are all that the embedded cloud has.
func providers() []*provider {
	return []*provider{codeCommit(), s3Source(), codeBuild(), lambdaDeploy(), codeDeploy(), lambdaInvoke(), approval()}
}

func sameType(a, b types.ActionTypeId) bool {
	return a.Category == b.Category && a.Owner == b.Owner && *a.Provider == *b.Provider && *a.Version == *b.Version
}

// provider finds who carries out an action type; nil: nobody.
func (s *Service) provider(t types.ActionTypeId) *provider {
	for _, p := range s.providers {
		if slices.ContainsFunc(p.types, func(o types.ActionTypeId) bool { return sameType(o, t) }) {
			return p
		}
	}
	return nil
}

// served names all action types, for refusals.
func (s *Service) served() string {
	var all []string
	for _, p := range s.providers {
		for _, t := range p.types {
			all = append(all, string(t.Category)+"/"+*t.Provider)
		}
	}
	return strings.Join(all, ", ")
}

// ListActionTypes lists the action types that pipelines can use.
func (s *Service) ListActionTypes(_ context.Context, in *sdk.ListActionTypesInput) (*sdk.ListActionTypesOutput, error) {
	if _, err := after(in.NextToken, "action types"); err != nil {
		return nil, err
	}
	out := &sdk.ListActionTypesOutput{ActionTypes: []types.ActionType{}}
	if in.ActionOwnerFilter != "" && in.ActionOwnerFilter != types.ActionOwnerAws {
		return out, nil
	}
	for _, p := range s.providers {
		for _, t := range p.types {
			at := types.ActionType{
				Id: &t, Settings: &types.ActionTypeSettings{}, ActionConfigurationProperties: []types.ActionConfigurationProperty{},
				InputArtifactDetails:  &types.ArtifactDetails{MinimumCount: int32(p.inputs.least), MaximumCount: int32(p.inputs.most)},
				OutputArtifactDetails: &types.ArtifactDetails{MinimumCount: int32(p.outputs.least), MaximumCount: int32(p.outputs.most)},
			}
			for _, k := range p.keys {
				at.ActionConfigurationProperties = append(at.ActionConfigurationProperties, types.ActionConfigurationProperty{
					Name: &k.name, Key: k.required, Required: k.required, Secret: k.secret, Type: types.ActionConfigurationPropertyTypeString,
				})
			}
			out.ActionTypes = append(out.ActionTypes, at)
		}
	}
	return out, nil
}
