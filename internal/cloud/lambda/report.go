package lambda

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/lambda/sandbox"
)

// A report is what Lambda itself writes to the log about an invocation.
// https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
type report struct {
	log     *logStream
	request string
	version string
	memory  int32 // MB
}

func (r *report) json() bool { return r.log.format.LogFormat == types.LogFormatJson }

func (r *report) platform(kind string, record map[string]any) {
	if r.log.format.SystemLogLevel == types.SystemLogLevelWarn {
		return
	}
	text, _ := json.Marshal(struct {
		Time   string         `json:"time"`
		Type   string         `json:"type"`
		Record map[string]any `json:"record"`
	}{time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), kind, record}) // plain data
	r.log.add(string(text))
}

// initStart tells that a sandbox is being started.
func initStart(l *logStream, c *types.FunctionConfiguration) {
	r := report{log: l}
	arn := *c.RuntimeVersionConfig.RuntimeVersionArn
	if r.json() {
		r.platform("platform.initStart", map[string]any{
			"initializationType": "on-demand", "phase": "init", "runtimeVersion": string(c.Runtime), "runtimeVersionArn": arn,
			"functionName": *c.FunctionName, "functionVersion": *c.Version,
		})
		return
	}
	l.add(fmt.Sprintf("INIT_START Runtime Version: %s\tRuntime Version ARN: %s", c.Runtime, arn))
}

func (r *report) start() {
	if r.json() {
		r.platform("platform.start", map[string]any{"requestId": r.request, "version": r.version})
		return
	}
	r.log.add("START RequestId: " + r.request + " Version: " + r.version)
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Millisecond)*100) / 100
}

// end tells how the invocation went; init is that of a new sandbox, or 0.
func (r *report) end(out sandbox.Result, init time.Duration) {
	used := (out.MaxMemory + 1<<20 - 1) >> 20
	billed := (out.Duration + init + time.Millisecond - 1).Truncate(time.Millisecond).Milliseconds()
	status := "success"
	switch {
	case out.Failure != nil && out.Failure.Type == sandbox.TimedOut:
		status = "timeout"
	case out.Failure != nil:
		status = "error"
	}
	if r.json() {
		metrics := map[string]any{"durationMs": milliseconds(out.Duration), "billedDurationMs": billed, "memorySizeMB": r.memory, "maxMemoryUsedMB": used}
		if init > 0 {
			metrics["initDurationMs"] = milliseconds(init)
		}
		record := map[string]any{"requestId": r.request, "metrics": metrics, "status": status}
		if out.Failure != nil {
			record["errorType"] = out.Failure.Type
		}
		r.platform("platform.report", record)
		return
	}
	if out.Failure != nil {
		r.failure(out.Failure)
	}
	r.log.add("END RequestId: " + r.request)
	text := fmt.Sprintf("REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\tMax Memory Used: %d MB\t", r.request, milliseconds(out.Duration), billed, r.memory, used)
	if init > 0 {
		text += fmt.Sprintf("Init Duration: %.2f ms\t", milliseconds(init))
	}
	switch status {
	case "timeout":
		text += "Status: timeout"
	case "error":
		text += "Status: error\tError Type: " + out.Failure.Type
	}
	r.log.add(text)
}

func (r *report) failure(f *sandbox.Failure) {
	if f.Type == sandbox.TimedOut {
		r.log.add(time.Now().UTC().Format("2006-01-02T15:04:05.000Z") + " " + r.request + " " + f.Message)
		return
	}
	r.log.add("RequestId: " + r.request + " Error: " + f.Message)
}
