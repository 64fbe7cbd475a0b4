package resource

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/graph"
)

// aliasAPI is what an Alias asks of Lambda.
type aliasAPI interface {
	GetAlias(context.Context, *lambda.GetAliasInput, ...func(*lambda.Options)) (*lambda.GetAliasOutput, error)
	GetFunctionConfiguration(context.Context, *lambda.GetFunctionConfigurationInput, ...func(*lambda.Options)) (*lambda.GetFunctionConfigurationOutput, error)
	PublishVersion(context.Context, *lambda.PublishVersionInput, ...func(*lambda.Options)) (*lambda.PublishVersionOutput, error)
	CreateAlias(context.Context, *lambda.CreateAliasInput, ...func(*lambda.Options)) (*lambda.CreateAliasOutput, error)
	UpdateAlias(context.Context, *lambda.UpdateAliasInput, ...func(*lambda.Options)) (*lambda.UpdateAliasOutput, error)
	DeleteAlias(context.Context, *lambda.DeleteAliasInput, ...func(*lambda.Options)) (*lambda.DeleteAliasOutput, error)
	listTagsAPI
}

// listTagsAPI reads the tags of a function. What belongs to a function has no
// tags: it belongs to the function's owner.
type listTagsAPI interface {
	ListTags(context.Context, *lambda.ListTagsInput, ...func(*lambda.Options)) (*lambda.ListTagsOutput, error)
}

var _ aliasAPI = (*lambda.Client)(nil)

// An Alias is the name under which all callers reach a function. It points at
// a published version that is exactly as the Function declares. The numbers of
// versions are Lambda's: they are never reused, so none is assumed.
type Alias struct {
	Lambda   aliasAPI
	Name     string
	Function *Function

	version string // that the alias was seen to point at
}

func (a *Alias) ID() string              { return a.Function.ID() + ":" + a.Name }
func (a *Alias) Needs() []graph.Resource { return []graph.Resource{a.Function} }

// ARN is the alias's, by which callers name the function.
func (a *Alias) ARN() string { return a.Function.ARN + ":" + a.Name }

// Version is what the alias was last seen to point at.
func (a *Alias) Version() string { return a.version }

func (a *Alias) Observe(ctx context.Context) (graph.Observation, error) {
	var alias *lambda.GetAliasOutput
	var live *lambda.GetFunctionConfigurationOutput
	var owned bool
	err := together(ctx, func(ctx context.Context) (err error) {
		alias, err = a.Lambda.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &a.Function.Name, Name: &a.Name})
		return err
	}, func(ctx context.Context) (err error) {
		live, err = a.Lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &a.Function.Name, Qualifier: &a.Name})
		return err
	}, func(ctx context.Context) (err error) {
		owned, err = functionOwned(ctx, a.Lambda, a.Function)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read alias", a.ID(), err)
	}
	a.version = deref(alias.FunctionVersion)
	d := a.Function.compare(version{
		role: deref(live.Role), runtime: live.Runtime, handler: deref(live.Handler), timeout: deref(live.Timeout), memory: deref(live.MemorySize),
		architectures: live.Architectures, environment: live.Environment, sha: deref(live.CodeSha256),
	})
	if r := alias.RoutingConfig; r != nil && len(r.AdditionalVersionWeights) > 0 {
		d.add("RoutingConfig", "", fmt.Sprint(r.AdditionalVersionWeights))
	}
	return graph.Observation{Exists: true, Owned: owned, Drift: d}, nil
}

func functionOwned(ctx context.Context, api listTagsAPI, f *Function) (bool, error) {
	out, err := api.ListTags(ctx, &lambda.ListTagsInput{Resource: &f.ARN})
	if err != nil {
		return false, err
	}
	return f.Owner.owns(out.Tags), nil
}

// publish returns the version that equals $LATEST: Lambda makes none if
// nothing changed since the last one.
func (a *Alias) publish(ctx context.Context) (string, error) {
	if err := a.Function.settled(ctx, ""); err != nil {
		return "", err
	}
	out, err := a.Lambda.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &a.Function.Name})
	if err != nil {
		return "", failed("publish", a.Function.Name, err)
	}
	number := deref(out.Version)
	if out.State == types.StateActive {
		return number, nil
	}
	return number, a.Function.settled(ctx, number)
}

func (a *Alias) Create(ctx context.Context) error {
	number, err := a.publish(ctx)
	if err != nil {
		return err
	}
	a.version = number
	_, err = a.Lambda.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &a.Function.Name, Name: &a.Name, FunctionVersion: &number})
	return failed("create alias", a.ID(), err)
}

func (a *Alias) Update(ctx context.Context, _ []graph.Diff) error {
	number, err := a.publish(ctx)
	if err != nil {
		return err
	}
	a.version = number
	_, err = a.Lambda.UpdateAlias(ctx, &lambda.UpdateAliasInput{
		FunctionName: &a.Function.Name, Name: &a.Name, FunctionVersion: &number,
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}},
	})
	return failed("update alias", a.ID(), err)
}

func (a *Alias) Delete(ctx context.Context) error {
	_, err := a.Lambda.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: &a.Function.Name, Name: &a.Name})
	return deleted("alias "+a.ID(), err)
}
