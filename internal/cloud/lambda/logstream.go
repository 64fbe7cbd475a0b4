package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/wire"
)

const (
	// linger is how long lines are gathered before they are written: a batch
	// costs as much as a line. On AWS they take seconds to arrive.
	linger = 500 * time.Millisecond
	// maxPending bounds the lines in memory that CloudWatch Logs has not taken.
	maxPending = 20_000
	// Limits of one PutLogEvents.
	maxBatchEvents = 10_000
	maxBatchBytes  = 1 << 20
	eventOverhead  = 26
	// maxTail is how much of an invocation's log comes with its answer.
	maxTail = 4 << 10
)

// A logStream writes what a sandbox's processes say to CloudWatch Logs, in
// order, in the background, in the name of the function's role. What that role
// may not write is dropped silently, as on AWS.
type logStream struct {
	caller        wire.Caller
	as            wire.As
	group, stream string
	format        types.LoggingConfig
	log           *slog.Logger

	mu      sync.Mutex
	pending []logstypes.InputLogEvent
	last    int64
	tail    *strings.Builder // of the invocation that asked for it
	dropped int

	wake chan struct{}
	stop chan struct{}
	done chan struct{}
	made bool // the stream
}

func newLogStream(l *logStream) *logStream {
	l.wake, l.stop, l.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go l.run()
	return l
}

// line takes a line of the function, unless its level is not wanted.
func (l *logStream) line(text string) {
	if l.format.LogFormat == types.LogFormatJson && l.quiet(text) {
		return
	}
	l.add(text)
}

var levels = []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

// quiet tells whether a JSON line has a level below the one that is wanted.
func (l *logStream) quiet(text string) bool {
	var doc struct {
		Level string `json:"level"`
	}
	if l.format.ApplicationLogLevel == "" || !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &doc) != nil {
		return false
	}
	have := slices.Index(levels, strings.ToUpper(doc.Level))
	return have >= 0 && have < slices.Index(levels, string(l.format.ApplicationLogLevel))
}

// add takes a line as it is.
func (l *logStream) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tail != nil {
		l.tail.WriteString(text + "\n")
	}
	if len(l.pending) >= maxPending {
		l.dropped++
		return
	}
	l.last = max(l.last, time.Now().UnixMilli()) // a batch must be in order
	l.pending = append(l.pending, logstypes.InputLogEvent{Message: &text, Timestamp: new(l.last)})
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// follow has lines kept for startTail's caller until endTail.
func (l *logStream) startTail() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = &strings.Builder{}
}

// endTail is the end of what was written since startTail.
func (l *logStream) endTail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.tail.String()
	l.tail = nil
	return text[max(0, len(text)-maxTail):]
}

func (l *logStream) run() {
	defer close(l.done)
	for {
		select {
		case <-l.stop:
			l.flush()
			return
		case <-l.wake:
		}
		timer := time.NewTimer(linger)
		select {
		case <-timer.C:
		case <-l.stop:
			timer.Stop()
		}
		l.flush()
	}
}

// close writes what is left.
func (l *logStream) close() {
	close(l.stop)
	<-l.done
}

// flush writes all lines that wait. It goes on when the cloud stops: the store
// outlives the functions.
func (l *logStream) flush() {
	l.mu.Lock()
	all, dropped := l.pending, l.dropped
	l.pending, l.dropped = nil, 0
	l.mu.Unlock()
	if dropped > 0 {
		l.log.Warn("function wrote more than its log took: lines dropped", "group", l.group, "lines", dropped)
	}
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && n < maxBatchEvents {
			if size += len(*all[n].Message) + eventOverhead; size > maxBatchBytes && n > 0 {
				break
			}
			n++
		}
		if err := l.put(context.Background(), all[:n]); err != nil {
			l.log.Debug("function's log was not taken", "group", l.group, "stream", l.stream, "error", err)
		}
		all = all[n:]
	}
}

// put writes a batch, making stream and group when they are not there.
func (l *logStream) put(ctx context.Context, batch []logstypes.InputLogEvent) error {
	in := &logs.PutLogEventsInput{LogGroupName: &l.group, LogStreamName: &l.stream, LogEvents: batch}
	if !l.made {
		if err := l.create(ctx); err != nil {
			return err
		}
	}
	_, err := l.caller.Call(ctx, l.as, in)
	if isCode(err, "ResourceNotFoundException") { // deleted meanwhile
		if err = l.create(ctx); err == nil {
			_, err = l.caller.Call(ctx, l.as, in)
		}
	}
	return err
}

func (l *logStream) create(ctx context.Context) error {
	in := &logs.CreateLogStreamInput{LogGroupName: &l.group, LogStreamName: &l.stream}
	_, err := l.caller.Call(ctx, l.as, in)
	if isCode(err, "ResourceNotFoundException") {
		if _, err = l.caller.Call(ctx, l.as, &logs.CreateLogGroupInput{LogGroupName: &l.group}); err == nil || isCode(err, "ResourceAlreadyExistsException") {
			_, err = l.caller.Call(ctx, l.as, in)
		}
	}
	if isCode(err, "ResourceAlreadyExistsException") {
		err = nil
	}
	l.made = err == nil
	return err
}

// isCode tells whether err is an AWS error of a code.
func isCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}
