package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"miniforge/internal/check"
	"miniforge/internal/handler/whoami"
	"miniforge/internal/stack"
)

// functionRoles asks each function who it is: the policies of a role protect
// nothing if the function does not run with it.
func (r *Run) functionRoles() []check.Check {
	var checks []check.Check
	for _, f := range r.stack.Functions() {
		checks = append(checks, r.needs(canary.authorises, check.Check{
			ID: "functions.role/" + f, Title: "Function " + f + " says that it runs as its own role",
			Run: func(ctx context.Context, t *check.T) error { return r.functionRole(ctx, t, f) },
		}))
	}
	return checks
}

func (r *Run) functionRole(ctx context.Context, t *check.T, function string) error {
	out, err := r.stack.Clients.Lambda.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: &function, Qualifier: aws.String(stack.LiveAlias), Payload: []byte(whoami.Question),
	})
	if err != nil {
		return fmt.Errorf("ask function %s who it is: %w", function, err)
	}
	var me whoami.Answer
	if err := json.Unmarshal(out.Payload, &me); err != nil || me.ARN == "" || out.FunctionError != nil {
		return fmt.Errorf("ask function %s who it is: it answers %s: `miniforge up` or `miniforge deploy` brings the current code", function, out.Payload)
	}
	// A role has its function's name; its path is no part of a session's ARN.
	want := fmt.Sprintf("arn:%s:sts::%s:assumed-role/%s/", r.stack.Partition(), r.stack.Account, function)
	t.Claim("the function's own answer", "a session of "+want+"*", me.ARN, strings.HasPrefix(me.ARN, want))
	return nil
}
