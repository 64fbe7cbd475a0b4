package security

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/access"
	"miniforge/internal/cloud"
	"miniforge/internal/delivery"
	"miniforge/internal/stack"
)

// TestDeliveriesStopWithout is TestOrdersStopWithout for the pipeline: each
// statement of its roles is removed, and a delivery tries without.
func TestDeliveriesStopWithout(t *testing.T) {
	if !*exhaustive {
		t.Skip("a delivery for each statement takes minutes: -exhaustive, as make security does")
	}
	w := newWorld(t)
	w.lives()
	n := w.stack.Names
	roles := []string{n.PipelineRole(), n.BuildProject(), n.DeployProject(), n.DeploymentRole()}
	for _, p := range w.policies() {
		if p.Kind != access.Role || !slices.Contains(roles, p.Name) {
			continue
		}
		all := statementsOf(t, p)
		for i, s := range all {
			actions := slices.DeleteFunc(actionsOf(t, s), func(a string) bool { return asked[w.short(p)+" "+a] != "" })
			if len(actions) == 0 {
				continue
			}
			if err := w.deploysOther(); err != nil {
				t.Fatal(err)
			}
			before := recorded.refusals()
			if err := w.put(p, without(all, i)); err != nil {
				t.Fatal(err)
			}
			ended := w.startDelivery()
			noticed := false
			w.within(patience, func() bool {
				noticed = recorded.refused(before, func(j cloud.Judgement) bool {
					return slices.ContainsFunc(actions, func(a string) bool { return matches(a, j.Access.Action) }) &&
						(j.Principal.RoleARN == w.stack.RoleARN(p.Name) || j.Access.Resource == w.stack.RoleARN(p.Name))
				})()
				return noticed || ended()
			})
			if err := w.put(p, all); err != nil {
				t.Fatal(err)
			}
			if !noticed {
				t.Errorf("%s, statement %d (%s): a delivery did not miss it", w.short(p), i+1, strings.Join(actions, ", "))
			}
			w.eventually("the delivery ends", patience, ended)
		}
	}
}

// deploysOther puts another version behind an alias, so that the next delivery
// has something to shift back.
func (w *world) deploysOther() error {
	c, name := w.stack.Clients.Lambda, aws.String(w.stack.Function(stack.InventoryChecker))
	architecture := lambdatypes.ArchitectureX8664
	if runtime.GOARCH == "arm64" {
		architecture = lambdatypes.ArchitectureArm64
	}
	out, err := c.UpdateFunctionCode(w.Context(), &lambda.UpdateFunctionCodeInput{
		FunctionName: name, ZipFile: shared.other, Publish: true, Architectures: []lambdatypes.Architecture{architecture},
	})
	if err != nil {
		return err
	}
	_, err = c.UpdateAlias(w.Context(), &lambda.UpdateAliasInput{
		FunctionName: name, Name: aws.String(stack.LiveAlias), FunctionVersion: out.Version, RoutingConfig: &lambdatypes.AliasRoutingConfiguration{},
	})
	return err
}

// startDelivery starts the pipeline and returns what tells whether it ended.
func (w *world) startDelivery() (ended func() bool) {
	w.Helper()
	id, err := w.stack.Delivery().Start(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	ctx, done := context.WithTimeout(w.Context(), patience)
	go func() {
		defer done()
		_, _ = w.stack.Delivery().Follow(ctx, id, func(delivery.Action) {}) // how it ends is not the question
	}()
	return func() bool { return ctx.Err() != nil }
}
