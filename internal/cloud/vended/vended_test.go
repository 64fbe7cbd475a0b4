package vended

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/wire"
)

// policies is CloudWatch Logs with one resource policy.
type policies struct {
	wire.Caller
	mu   sync.Mutex
	text string
}

func (p *policies) Call(_ context.Context, _ wire.As, in any) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch in := in.(type) {
	case *cloudwatchlogs.DescribeResourcePoliciesInput:
		out := &cloudwatchlogs.DescribeResourcePoliciesOutput{}
		if p.text != "" {
			out.ResourcePolicies = []types.ResourcePolicy{{PolicyName: new(policyName), PolicyDocument: new(p.text)}}
		}
		return out, nil
	case *cloudwatchlogs.PutResourcePolicyInput:
		p.text = *in.PolicyDocument
		return &cloudwatchlogs.PutResourcePolicyOutput{}, nil
	}
	return nil, fmt.Errorf("unexpected %T", in)
}

// TestAllowKeepsTheOthers adds groups at the same time, as two services do when
// a stack comes up: none is lost.
func TestAllowKeepsTheOthers(t *testing.T) {
	p := &policies{}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if err := Allow(t.Context(), p, wire.As{}, fmt.Sprintf("arn:aws:logs:us-east-1:000000000000:log-group:g%d-", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 16 {
		if !strings.Contains(p.text, fmt.Sprintf("g%d-:log-stream:*", i)) {
			t.Errorf("group %d is missing in %s", i, p.text)
		}
	}
}
