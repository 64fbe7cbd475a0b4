package codebuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/wire"
)

// Limits of one PutLogEvents, and of a line.
const (
	maxEvents = 10_000
	maxBytes  = 1 << 20
	maxLine   = 200 << 10
	overhead  = 26
)

// location is where a build's log will be.
func (s *Service) location(b *build) *types.LogsLocation {
	cw := &types.CloudWatchLogsConfig{Status: types.LogsConfigStatusTypeEnabled}
	if b.Logs != nil && b.Logs.CloudWatchLogs != nil {
		c := *b.Logs.CloudWatchLogs
		cw = &c
	}
	l := &types.LogsLocation{CloudWatchLogs: cw, S3Logs: &types.S3LogsConfig{Status: types.LogsConfigStatusTypeDisabled}}
	if cw.Status == types.LogsConfigStatusTypeDisabled {
		return l
	}
	group := deref(cw.GroupName)
	if group == "" {
		group = "/aws/codebuild/" + *b.ProjectName
	}
	_, stream, _ := strings.Cut(*b.Id, ":")
	if prefix := deref(cw.StreamName); prefix != "" {
		stream = prefix + "/" + stream
	}
	l.GroupName, l.StreamName = &group, &stream
	l.CloudWatchLogsArn = new("arn:aws:logs:" + b.Region + ":" + s.Account + ":log-group:" + group + ":log-stream:" + stream)
	l.DeepLink = new("https://console.aws.amazon.com/cloudwatch/home?region=" + b.Region + "#logsV2:log-groups/log-group/" + strings.ReplaceAll(group, "/", "$252F") + "/log-events/" + stream)
	return l
}

// An output takes what a build says, line by line, and brings it to CloudWatch
// Logs in the name of the build's role, in order. Several programs of a
// pipeline may write at once.
type output struct {
	caller        wire.Caller
	as            wire.As
	group, stream string // no group: nothing is kept

	mu      sync.Mutex
	partial []byte
	pending []logstypes.InputLogEvent
	last    int64

	flushing sync.Mutex // one batch at a time keeps the order
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial = append(o.partial, p...)
	for {
		i := bytes.IndexByte(o.partial, '\n')
		if i < 0 && len(o.partial) < maxLine {
			return len(p), nil
		}
		if i < 0 || i > maxLine {
			o.add(string(o.partial[:maxLine]))
			o.partial = o.partial[maxLine:]
			continue
		}
		o.add(strings.TrimSuffix(string(o.partial[:i]), "\r"))
		o.partial = o.partial[i+1:]
	}
}

func (o *output) add(line string) {
	if o.group == "" || line == "" {
		return
	}
	o.last = max(o.last, time.Now().UnixMilli()) // a batch must be in order
	o.pending = append(o.pending, logstypes.InputLogEvent{Message: new(strings.ToValidUTF8(line, "\uFFFD")), Timestamp: new(o.last)})
}

// say writes a line of CodeBuild's own.
func (o *output) say(format string, args ...any) {
	line := fmt.Sprintf("[Container] %s %s", time.Now().UTC().Format("2006/01/02 15:04:05.000000"), fmt.Sprintf(format, args...))
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.partial) > 0 { // a program's last line, without an end
		o.add(string(o.partial))
		o.partial = nil
	}
	o.add(line)
}

// open makes the log stream. What an earlier attempt made is gone on with.
func (o *output) open(ctx context.Context) error {
	if o.group == "" {
		return nil
	}
	in := &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &o.group, LogStreamName: &o.stream}
	_, err := o.caller.Call(ctx, o.as, in)
	if isCode(err, "ResourceNotFoundException") {
		_, err = o.caller.Call(ctx, o.as, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &o.group})
		if err == nil || isCode(err, "ResourceAlreadyExistsException") {
			_, err = o.caller.Call(ctx, o.as, in)
		}
	}
	if isCode(err, "ResourceAlreadyExistsException") {
		return nil
	}
	return err
}

func isCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

// flush brings what there is to the log.
func (o *output) flush(ctx context.Context) error {
	o.flushing.Lock()
	defer o.flushing.Unlock()
	o.mu.Lock()
	all := o.pending
	o.pending = nil
	o.mu.Unlock()
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && n < maxEvents {
			if size += len(*all[n].Message) + overhead; size > maxBytes && n > 0 {
				break
			}
			n++
		}
		if _, err := o.caller.Call(ctx, o.as, &cloudwatchlogs.PutLogEventsInput{LogGroupName: &o.group, LogStreamName: &o.stream, LogEvents: all[:n]}); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// flushEvery is how long lines are gathered.
const flushEvery = 200 * time.Millisecond

// follow flushes until stop is called, and once more then.
func (o *output) follow(ctx context.Context, failed func(error)) (stop func()) {
	done, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(flushEvery)
		defer t.Stop()
		for ended := false; !ended; {
			select {
			case <-t.C:
			case <-end:
				ended = true
			}
			if err := o.flush(ctx); err != nil {
				failed(err)
			}
		}
	}()
	return func() { close(end); <-done }
}
