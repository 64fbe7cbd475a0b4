package security

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"miniforge/internal/check"
	"miniforge/internal/stack"
	"miniforge/internal/verify"
)

// TestFunctionsTellTheirRole gives a function the role of another: its own
// answer shows it.
func TestFunctionsTellTheirRole(t *testing.T) {
	w := newWorld(t)
	w.asks(verify.Options{})
	t.Cleanup(w.closes)
	function, other := w.stack.Function(stack.InventoryChecker), w.stack.Function(stack.PaymentProcessor)
	client, live := w.stack.Clients.Lambda, aws.String(stack.LiveAlias)
	before, err := client.GetAlias(t.Context(), &lambda.GetAliasInput{FunctionName: &function, Name: live})
	if err != nil {
		t.Fatal(err)
	}
	role := func(ctx context.Context, name string) error {
		_, err := client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &function, Role: aws.String(w.stack.RoleARN(name))})
		return err
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := role(ctx, function); err != nil {
			t.Error(err)
		}
		if _, err := client.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: &function, Name: live, FunctionVersion: before.FunctionVersion}); err != nil {
			t.Error(err)
		}
	})
	if err := role(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	v, err := client.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &function})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.UpdateAlias(t.Context(), &lambda.UpdateAliasInput{FunctionName: &function, Name: live, FunctionVersion: v.Version}); err != nil {
		t.Fatal(err)
	}
	r := check.Do(t.Context(), w.checks["functions.role/"+function])
	if text := strings.Join(complaints(r), "\n"); r.Outcome != check.Fail || !strings.Contains(text, "assumed-role/"+other+"/") {
		t.Errorf("%s %s %s; want a failure that names %s", r.Outcome, r.Reason, text, other)
	}
}
