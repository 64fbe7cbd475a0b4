package apigw

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

// maxQueued bounds the lines that wait to be written. Access logs are best
// effort, as on AWS: under more load than the log can take, lines are dropped
// rather than requests delayed.
const maxQueued = 10_000

// An accessLog writes lines in batches, in the background.
type accessLog struct {
	Options
	lines chan logLine
}

type logLine struct {
	region, group, stream, text string
	at                          time.Time
}

func newAccessLog(o Options) *accessLog { return &accessLog{o, make(chan logLine, maxQueued)} }

func (l *accessLog) add(line logLine) {
	if line.group == "" {
		return
	}
	select {
	case l.lines <- line:
	default:
		l.Log.Warn("access log line dropped: too many are waiting", "group", line.group)
	}
}

func (l *accessLog) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-l.lines:
			batches := map[string][]logLine{}
			for line, more := first, true; more; {
				k := line.region + line.group
				batches[k] = append(batches[k], line)
				select {
				case line = <-l.lines:
				default:
					more = false
				}
			}
			for _, b := range batches {
				l.write(ctx, b)
			}
		}
	}
}

// write puts lines of one group, making the stream when it is new.
func (l *accessLog) write(ctx context.Context, lines []logLine) {
	// Requests end in another order than they began, and a batch must be in
	// order of time.
	slices.SortStableFunc(lines, func(a, b logLine) int { return a.at.Compare(b.at) })
	first := lines[0]
	as := wire.As{Region: first.region, Principal: authz.ServicePrincipal("delivery.logs", "arn:aws:logs:"+first.region+":"+l.Account+":"+first.stream, l.Account)}
	in := &cloudwatchlogs.PutLogEventsInput{LogGroupName: &first.group, LogStreamName: &first.stream}
	for _, x := range lines {
		in.LogEvents = append(in.LogEvents, logstypes.InputLogEvent{Message: &x.text, Timestamp: new(x.at.UnixMilli())})
	}
	_, err := l.Caller.Call(ctx, as, in)
	if e, ok := err.(interface{ ErrorCode() string }); ok && e.ErrorCode() == "ResourceNotFoundException" {
		if _, err = l.Caller.Call(ctx, as, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &first.group, LogStreamName: &first.stream}); err == nil {
			_, err = l.Caller.Call(ctx, as, in)
		}
	}
	if err != nil && ctx.Err() == nil {
		l.Log.Warn("cannot write access log", "group", first.group, "error", err)
	}
}

var logEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// entry is a request's line in the stage's format.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
func (s *Service) entry(req *request) logLine {
	settings := req.stage.AccessLogSettings
	if settings == nil || settings.DestinationArn == nil {
		return logLine{}
	}
	_, group, ok := strings.Cut(*settings.DestinationArn, ":log-group:")
	if !ok {
		return logLine{}
	}
	text := expand(*settings.Format, func(name string) string {
		if x, ok := s.variable(req, name); ok {
			return logEscapes.Replace(x)
		}
		return "-"
	})
	return logLine{region: req.api.Region, group: strings.TrimSuffix(group, ":*"), stream: *req.api.ApiId + "_" + *req.stage.StageName, text: text, at: req.start}
}

// expand puts values in the place of a format's variables: "$context." and
// letters and dots.
func expand(format string, value func(name string) string) string {
	var b strings.Builder
	for {
		const prefix = "$context."
		before, rest, ok := strings.Cut(format, prefix)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		n := 0
		for n < len(rest) && (rest[n] == '.' || 'a' <= rest[n]|0x20 && rest[n]|0x20 <= 'z') {
			n++
		}
		if n == 0 {
			b.WriteString(prefix)
		} else {
			b.WriteString(value(rest[:n]))
		}
		format = rest[n:]
	}
}

// variable is what a format's variable stands for; false if it is not known.
func (s *Service) variable(req *request, name string) (string, bool) {
	switch name {
	case "requestId", "extendedRequestId":
		return req.id, true
	case "accountId":
		return s.Account, true
	case "apiId":
		return *req.api.ApiId, true
	case "stage":
		return *req.stage.StageName, true
	case "routeKey":
		if req.route.RouteKey == nil {
			return "-", true
		}
		return *req.route.RouteKey, true
	case "httpMethod":
		return req.Method, true
	case "path":
		return req.path, true
	case "protocol":
		return req.Proto, true
	case "identity.sourceIp":
		return sourceIP(req.Request), true
	case "identity.userAgent":
		return req.UserAgent(), true
	case "domainName":
		return req.Host, true
	case "requestTime":
		return req.time(), true
	case "requestTimeEpoch":
		return itoa(req.start.UnixMilli()), true
	case "status", "integrationStatus":
		return strconv.Itoa(req.status), true
	case "responseLength":
		return strconv.Itoa(req.length), true
	case "responseLatency":
		return itoa(time.Since(req.start).Milliseconds()), true
	case "integrationLatency", "integration.latency":
		return itoa(req.took.Milliseconds()), true
	case "integrationErrorMessage", "integration.error", "error.message":
		if req.ierr == "" {
			return "-", true
		}
		return req.ierr, true
	}
	return "", false
}
