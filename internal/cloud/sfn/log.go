package sfn

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// logKind is the task that brings an execution's events to its log group.
const logKind = "sfn.log"

// logEvery is how long events are gathered before they are delivered.
const logEvery = time.Second

// logBatch is how many events are delivered at a time, and logBytes how much
// one request to CloudWatch Logs holds.
const (
	logBatch = 1000
	logBytes = 1 << 20
	// eventOverhead is what CloudWatch Logs adds to an event's size.
	eventOverhead = 26
)

// logged is the id of the last event of an execution that was delivered.
const logged = store.Table[int64]("sfn.logged")

// logAttempts is how often a delivery is tried: vended logs are best effort.
const logAttempts = 5

// logs tells whether events of a type go to the log at its level.
func (l logging) logs(kind string) bool {
	fatal := kind == "ExecutionFailed" || kind == "ExecutionAborted" || kind == "ExecutionTimedOut"
	switch l.Level {
	case "ALL":
		return true
	case "ERROR":
		return fatal || strings.HasSuffix(kind, "Failed") || strings.HasSuffix(kind, "TimedOut") || strings.HasSuffix(kind, "Aborted")
	case "FATAL":
		return fatal
	}
	return false
}

func (l logging) logsAny(records []*record) bool {
	return slices.ContainsFunc(records, func(r *record) bool { return l.logs(r.Type) })
}

// sendLog has new events delivered: soon, or at once if the execution has ended.
// One task gathers them all, as its ID is the execution's: while it has not
// taken what is remembered, it will take this as well.
func (s *Service) sendLog(tx *store.Tx, x *execution, p progress, records []*record) error {
	// The end of an express execution comes by even if it is not logged: its
	// traces are removed then.
	over := x.Express && x.Logging.Level != "" && p.Status != running
	if !over && !x.Logging.logsAny(records) || p.Status == running && s.fresh.awaited(x.ARN) {
		return nil
	}
	t := event.Task{Kind: logKind, ID: x.ARN, Lane: x.ARN}
	if p.Status == running {
		t.Due = time.Now().Add(logEvery)
	}
	tx.OnCommit(func() { s.fresh.await(x.ARN) })
	return s.Tasks.Send(tx, t)
}

// deliverLog is the handler of logKind.
func (s *Service) deliverLog(ctx context.Context, t event.Task) event.Result {
	var x execution
	var p progress
	var records []*record
	var last int64
	err := s.DB.View(func(tx *store.Tx) (err error) {
		var ok bool
		if x, ok, err = executions.Get(tx, t.ID); err != nil || !ok {
			return err
		}
		if p, _, err = progresses.Get(tx, t.ID); err != nil {
			return err
		}
		if last, _, err = logged.Get(tx, t.ID); err != nil {
			return err
		}
		if records = s.fresh.take(t.ID, last+1, p.Last); records != nil {
			return nil
		}
		return eventsUp(tx, t.ID, last+1, func(r *record) bool {
			records = append(records, r)
			return len(records) < logBatch
		})
	})
	if err == nil && len(records) > 0 {
		err = s.putLog(ctx, &x, &p, records)
	}
	switch {
	case err != nil && t.Attempts+1 < logAttempts && retryable(err):
		return event.Retry(time.Second << t.Attempts)
	case err != nil:
		s.Log.Warn("execution log not delivered", "execution", t.ID, "group", x.Logging.Group, "error", err)
	}
	more := false
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		now, ok, err := progresses.Get(tx, t.ID)
		if err != nil || !ok {
			return err
		}
		// What came meanwhile may rely on this task: see sendLog.
		if more = len(records) == logBatch || now.Last != p.Last; !more {
			if err := s.forget(tx, &x, &p); err != nil || x.Express && p.Status != running {
				return err
			}
		}
		if len(records) == 0 {
			return nil
		}
		return logged.Put(tx, t.ID, records[len(records)-1].ID)
	})
	if err != nil || more {
		return event.Retry(0)
	}
	return event.Done()
}

// retryable tells whether a delivery may succeed later: not without its group.
func retryable(err error) bool {
	_, gone := errors.AsType[*logstypes.ResourceNotFoundException](err)
	return !gone
}

// putLog writes events in the form of vended logs.
func (s *Service) putLog(ctx context.Context, x *execution, p *progress, records []*record) error {
	events := make([]logstypes.InputLogEvent, 0, len(records))
	var b []byte // for one line after the other
	size := 0
	for _, r := range records {
		if !x.Logging.logs(r.Type) {
			continue
		}
		b = appendLogLine(b[:0], x, p, r)
		if size += len(b) + eventOverhead; size > logBytes && len(events) > 0 {
			if err := s.putEvents(ctx, x, events); err != nil {
				return err
			}
			events, size = make([]logstypes.InputLogEvent, 0, len(records)), len(b)+eventOverhead
		}
		events = append(events, logstypes.InputLogEvent{Timestamp: new(r.At.UnixMilli()), Message: new(string(b))})
	}
	return s.putEvents(ctx, x, events)
}

// putEvents makes one request, and the stream if it is new.
func (s *Service) putEvents(ctx context.Context, x *execution, events []logstypes.InputLogEvent) error {
	if len(events) == 0 {
		return nil
	}
	p := strings.Split(x.Logging.Group, ":")
	if len(p) < 7 {
		return nil
	}
	machine := x.Machine[strings.LastIndexByte(x.Machine, ':')+1:]
	group, stream := p[6], "states/"+machine+"/"+x.Start.UTC().Format("2006-01-02-15-04")+"/"+x.Definition[:8]
	// Log delivery acts for itself: its source is an ARN of CloudWatch Logs.
	source := "arn:aws:logs:" + p[3] + ":" + s.Account + ":" + machine
	as := wire.As{Region: p[3], Principal: authz.ServicePrincipal("delivery.logs", source, s.Account)}
	put := func() error {
		_, err := wire.Do[cloudwatchlogs.PutLogEventsOutput](ctx, s.Caller, as,
			&cloudwatchlogs.PutLogEventsInput{LogGroupName: &group, LogStreamName: &stream, LogEvents: events})
		return err
	}
	err := put()
	if _, missing := errors.AsType[*logstypes.ResourceNotFoundException](err); !missing {
		return err
	}
	_, err = wire.Do[cloudwatchlogs.CreateLogStreamOutput](ctx, s.Caller, as,
		&cloudwatchlogs.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &stream})
	if api, ok := errors.AsType[smithy.APIError](err); err != nil && (!ok || api.ErrorCode() != "ResourceAlreadyExistsException") {
		return err
	}
	return put()
}
