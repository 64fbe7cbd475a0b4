package sfn

import (
	"context"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
)

// StopExecution ends an execution. One that has ended stays as it is.
func (s *Service) StopExecution(ctx context.Context, in *sdk.StopExecutionInput) (*sdk.StopExecutionOutput, error) {
	out := &sdk.StopExecutionOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		x, p, err := s.lookUp(tx, in.ExecutionArn)
		if err != nil {
			return err
		}
		if p.Status == running {
			if err := s.abort(tx, &x, &p, in.Error, in.Cause); err != nil {
				return err
			}
		}
		out.StopDate = &p.Stop
		return nil
	})
}

// abort ends a running execution from outside. The run notices with its next
// commit, or by the signal.
func (s *Service) abort(tx *store.Tx, x *execution, p *progress, name, cause *string) error {
	prev := p.Last
	p.Last++
	p.Status, p.Stop, p.Error, p.Cause = aborted, s.now(), name, cause
	records := []*record{{ID: p.Last, Prev: prev, At: p.Stop, Type: "ExecutionAborted", detail: detail{Error: name, Cause: cause}}}
	tx.OnCommit(func() { s.Signals.Notify(wakeKey(x.ARN)) })
	return first(
		histories.Put(tx, historyKey(x.ARN, p.Last), records),
		s.sendLog(tx, x, *p, records),
		s.finish(tx, x, running, *p),
	)
}

// redriveWithin is how long after its end an execution can be redriven.
const redriveWithin = 14 * 24 * time.Hour

func redrivable(x *execution, p *progress, now time.Time) (types.ExecutionRedriveStatus, *string) {
	switch {
	case p.Status == running:
		return types.ExecutionRedriveStatusNotRedrivable, new("Execution is RUNNING and cannot be redriven")
	case p.Status == succeeded:
		return types.ExecutionRedriveStatusNotRedrivable, new("Execution is SUCCEEDED and cannot be redriven")
	case x.Express:
		return types.ExecutionRedriveStatusNotRedrivable, new("Express executions cannot be redriven")
	case now.After(p.Stop.Add(redriveWithin)):
		return types.ExecutionRedriveStatusNotRedrivable, new("Execution has exceeded the redrivable period")
	case p.Last >= maxEvents-1:
		return types.ExecutionRedriveStatusNotRedrivable, new("Execution history event limit exceeded")
	}
	return types.ExecutionRedriveStatusRedrivable, nil
}

// RedriveExecution has an execution go on where it failed.
func (s *Service) RedriveExecution(ctx context.Context, in *sdk.RedriveExecutionInput) (*sdk.RedriveExecutionOutput, error) {
	out := &sdk.RedriveExecutionOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		x, p, err := s.lookUp(tx, in.ExecutionArn)
		if err != nil {
			return err
		}
		if in.ClientToken != nil && p.Redriver == *in.ClientToken {
			out.RedriveDate = &p.Redriven
			return nil
		}
		if _, reason := redrivable(&x, &p, time.Now()); reason != nil {
			return &types.ExecutionNotRedrivable{Message: reason}
		}
		if _, err := s.usable(tx, x.Machine); err != nil {
			return err
		}
		m, err := s.parsed(tx, x.Definition)
		if err != nil {
			return err
		}
		was := p.Status
		prev := p.Last
		p = progress{Status: running, Last: p.Last + 1, Redrives: p.Redrives + 1, Redriven: s.now(), Deadline: deadline(&x, m, s.now())}
		if in.ClientToken != nil {
			p.Redriver = *in.ClientToken
		}
		out.RedriveDate = &p.Redriven
		records := []*record{{ID: p.Last, Prev: prev, At: p.Redriven, Type: "ExecutionRedriven", detail: detail{Redrives: p.Redrives}}}
		return first(
			s.reenter(tx, x.ARN, p.Last),
			progresses.Put(tx, x.ARN, p),
			histories.Put(tx, historyKey(x.ARN, p.Last), records),
			s.sendLog(tx, &x, p, records),
			s.relist(tx, &x, was, running),
			s.Tasks.Send(tx, event.Task{Kind: runKind, ID: x.ARN}),
		)
	})
}

// reenter has the threads that were at work enter their states again. Branches
// that had ended stay so, and those above them wait for the others again.
func (s *Service) reenter(tx *store.Tx, execution string, last int64) error {
	var all []*thread
	ended := map[string]int{} // of a parent's branches
	for r, err := range threadRows.Prefix(tx, execution+"\x00") {
		if err != nil {
			return err
		}
		all = append(all, r.Value)
		if at := strings.LastIndexByte(r.Value.ID, '/'); at >= 0 {
			ended[r.Value.ID[:at]] += 0
			if r.Value.Phase == done {
				ended[r.Value.ID[:at]]++
			}
		}
	}
	for _, t := range all {
		n, parent := ended[t.ID]
		switch {
		case t.Phase == done:
			continue
		case parent:
			// Iterations whose failure was tolerated are tried again, too.
			t.Phase, t.Ended, t.Failed = branching, n, 0
		default:
			if t.Token != "" {
				if err := tokens.Delete(tx, t.Token); err != nil {
					return err
				}
			}
			t.Phase, t.Prev = entering, last
		}
		if err := threadRows.Put(tx, threadKey(execution, t.ID), t); err != nil {
			return err
		}
	}
	return nil
}
