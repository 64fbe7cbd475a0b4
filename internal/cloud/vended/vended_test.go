package vended

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/wire"
)

// policies is CloudWatch Logs with one resource policy.
type policies struct {
	wire.Caller
	takes time.Duration // each call
	mu    sync.Mutex
	text  string
}

func (p *policies) Call(_ context.Context, _ wire.As, in any) (any, error) {
	time.Sleep(p.takes)
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
	p, d := &policies{}, NewDelivery()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if err := d.Allow(t.Context(), p, wire.As{}, fmt.Sprintf("arn:aws:logs:us-east-1:000000000000:log-group:g%d-", i)); err != nil {
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

// TestAllowTakesTime: who waits for the turn of a slow one waits no longer than
// its context lives, and time passes meanwhile: in a bubble it would stop for
// good at a mutex.
func TestAllowTakesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := &policies{takes: time.Minute}, NewDelivery()
		const group = "arn:aws:logs:us-east-1:000000000000:log-group:g"
		first := make(chan error)
		go func() { first <- d.Allow(t.Context(), p, wire.As{}, group) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Allow(ctx, p, wire.As{}, group); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("out of turn: %v", err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}
