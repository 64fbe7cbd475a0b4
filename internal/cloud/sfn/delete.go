package sfn

import (
	"context"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
)

// reapKind is the task that removes a state machine with all that belongs to it.
const reapKind = "sfn.reap"

// reapBatch is how many executions are removed in one transaction: others wait
// for it.
const reapBatch = 50

// DeleteStateMachine marks a machine: it is DELETING until its executions have
// ended and are removed. One that does not exist is no error.
func (s *Service) DeleteStateMachine(ctx context.Context, in *sdk.DeleteStateMachineInput) (*sdk.DeleteStateMachineOutput, error) {
	a, err := s.parseARN(in.StateMachineArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	if a.rest != "" {
		return nil, invalidARN("Resource type not valid in this context: a version or an alias")
	}
	return &sdk.DeleteStateMachineOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		m, ok, err := machines.Get(tx, a.full)
		if err != nil || !ok {
			return err
		}
		m.Deleting = true
		if err := machines.Put(tx, a.full, m); err != nil {
			return err
		}
		return s.reap(tx, a.full)
	})
}

// reap has a machine that is being deleted looked at.
func (s *Service) reap(tx *store.Tx, machine string) error {
	m, ok, err := machines.Get(tx, machine)
	if err != nil || !ok || !m.Deleting {
		return err
	}
	return s.Tasks.Send(tx, event.Task{Kind: reapKind, ID: machine})
}

// reapTask is the handler of reapKind. It ends the executions that still run,
// removes what has ended and, at last, the machine.
func (s *Service) reapTask(ctx context.Context, t event.Task) event.Result {
	for {
		more := false
		err := s.DB.Update(ctx, func(tx *store.Tx) (err error) {
			more, err = s.reapSome(tx, t.ID)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return event.Retry(0)
		case err != nil:
			s.Log.Error("cannot delete state machine", "machine", t.ID, "error", err)
			return event.Retry(time.Second)
		case !more:
			return event.Done()
		}
	}
}

func (s *Service) reapSome(tx *store.Tx, machine string) (more bool, err error) {
	m, ok, err := machines.Get(tx, machine)
	if err != nil || !ok || !m.Deleting {
		return false, err
	}
	var gone []execution
	for r, err := range listing.Prefix(tx, machine+"\x00*\x00") {
		if err != nil {
			return false, err
		}
		x, _, err := executions.Get(tx, r.Value)
		if err != nil {
			return false, err
		}
		if gone = append(gone, x); len(gone) == reapBatch {
			break
		}
	}
	for i := range gone {
		if err := s.remove(tx, &gone[i]); err != nil {
			return false, err
		}
	}
	if len(gone) > 0 {
		return true, nil
	}
	if err := s.removeVersions(tx, machine); err != nil {
		return false, err
	}
	return false, machines.Delete(tx, machine)
}

// remove forgets an execution; one that runs is over with that.
func (s *Service) remove(tx *store.Tx, x *execution) error {
	p, _, err := progresses.Get(tx, x.ARN)
	if err != nil {
		return err
	}
	keys := map[string]bool{}
	for r, err := range threadRows.Prefix(tx, x.ARN+"\x00") {
		if err != nil {
			return err
		}
		keys[r.Key] = true
		if r.Value.Token != "" {
			if err := tokens.Delete(tx, r.Value.Token); err != nil {
				return err
			}
		}
	}
	for k := range keys {
		if err := threadRows.Delete(tx, k); err != nil {
			return err
		}
	}
	var pages []string
	for r, err := range histories.Prefix(tx, x.ARN+"\x00") {
		if err != nil {
			return err
		}
		pages = append(pages, r.Key)
	}
	for _, k := range pages {
		if err := histories.Delete(tx, k); err != nil {
			return err
		}
	}
	tx.OnCommit(func() {
		s.Signals.Notify(wakeKey(x.ARN))
		s.Signals.Notify(endKey(x.ARN))
	})
	return first(
		executions.Delete(tx, x.ARN), progresses.Delete(tx, x.ARN), logged.Delete(tx, x.ARN),
		listing.Delete(tx, listingKey(x.Machine, "*", x.Start, x.Name)),
		listing.Delete(tx, listingKey(x.Machine, p.Status, x.Start, x.Name)),
		s.Tasks.Finish(tx, runKind, x.ARN),
	)
}

// removeVersions removes all versions and aliases of a machine.
func (s *Service) removeVersions(tx *store.Tx, machine string) error {
	var vs, as []string
	for r, err := range versions.Prefix(tx, machine+"\x00") {
		if err != nil {
			return err
		}
		vs = append(vs, r.Key)
	}
	for r, err := range aliases.Prefix(tx, machine+":") {
		if err != nil {
			return err
		}
		as = append(as, r.Key)
	}
	for _, k := range vs {
		if err := versions.Delete(tx, k); err != nil {
			return err
		}
	}
	for _, k := range as {
		if err := aliases.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}
