package apigw

import (
	"context"
	"regexp"
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

var (
	contextVar = regexp.MustCompile(`\$context\.[A-Za-z.]+`)
	logEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
)

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
	routeKey := "-"
	if req.route.RouteKey != nil {
		routeKey = *req.route.RouteKey
	}
	errText := "-"
	if req.ierr != "" {
		errText = req.ierr
	}
	vars := map[string]string{
		"requestId": req.id, "extendedRequestId": req.id, "accountId": s.Account, "apiId": *req.api.ApiId, "stage": *req.stage.StageName,
		"routeKey": routeKey, "httpMethod": req.Method, "path": req.path, "protocol": req.Proto,
		"identity.sourceIp": sourceIP(req.Request), "identity.userAgent": req.UserAgent(), "domainName": req.Host,
		"requestTime": req.start.UTC().Format("02/Jan/2006:15:04:05 +0000"), "requestTimeEpoch": itoa(req.start.UnixMilli()),
		"status": strconv.Itoa(req.status), "responseLength": strconv.Itoa(req.length), "responseLatency": itoa(time.Since(req.start).Milliseconds()),
		"integrationLatency": itoa(req.took.Milliseconds()), "integrationErrorMessage": errText, "integration.error": errText,
		"integration.latency": itoa(req.took.Milliseconds()), "integrationStatus": strconv.Itoa(req.status), "error.message": errText,
	}
	text := contextVar.ReplaceAllStringFunc(*settings.Format, func(v string) string {
		if x, ok := vars[strings.TrimPrefix(v, "$context.")]; ok {
			return logEscapes.Replace(x)
		}
		return "-"
	})
	return logLine{region: req.api.Region, group: strings.TrimSuffix(group, ":*"), stream: *req.api.ApiId + "_" + *req.stage.StageName, text: text, at: req.start}
}
