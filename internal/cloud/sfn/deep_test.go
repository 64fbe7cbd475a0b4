package sfn

import (
	"strings"
	"testing"
	"time"

	"miniforge/internal/cloud/sfn/asl"
)

// deep is nested as deeply as it may be: in anything else it is too deep.
var deep = strings.Repeat("[", asl.MaxDepth) + strings.Repeat("]", asl.MaxDepth)

// Parameters may be nested more deeply than JSON is read: the task fails.
func TestParametersNestedTooDeeply(t *testing.T) {
	for resource, member := range map[string]string{"states:startExecution": "Input", "sqs:sendMessage": "MessageBody", "lambda:invoke": "Payload"} {
		bubble(t, func(t *testing.T, r *rig) {
			arn := r.start(states(`"A":{"Type":"Task","Resource":"arn:aws:states:::`+resource+`","Parameters":{"`+member+`":{"in.$":"$"}},"End":true}`), deep)
			if d := r.end(arn); d.Status != "FAILED" || *d.Error != "States.Runtime" {
				t.Errorf("%s: %s %v", resource, d.Status, d.Error)
			}
		})
	}
}

// Data that a state nests too deeply fails the execution, at once and for good:
// it could not be read again after a restart.
func TestDataNestedTooDeeply(t *testing.T) {
	const branch = `{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":60,"End":true}}}`
	for name, c := range map[string]struct{ state, status, err string }{
		"wait":                {`"Type":"Wait","Seconds":60`, "SUCCEEDED", ""},
		"output":              {`"Type":"Pass","Parameters":{"in.$":"$"}`, "FAILED", "States.Runtime"},
		"result path":         {`"Type":"Pass","Parameters":{"in.$":"$"},"ResultPath":"$.x"`, "FAILED", "States.ResultPathMatchFailure"},
		"input of branches":   {`"Type":"Parallel","Parameters":{"in.$":"$"},"Branches":[` + branch + `]`, "FAILED", "States.Runtime"},
		"output of branches":  {`"Type":"Parallel","Branches":[` + branch + `]`, "FAILED", "States.Runtime"},
		"input of iterations": {`"Type":"Map","ItemSelector":{"a":[{"in.$":"$"}]},"ItemProcessor":` + branch, "FAILED", "States.Runtime"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				arn := r.start(states(`"A":{`+c.state+`,"End":true}`), deep)
				time.Sleep(time.Second)
				r.stop()
				r.boot()
				d := r.end(arn)
				if string(d.Status) != c.status || deref(d.Error) != c.err {
					t.Errorf("%s %s %s", d.Status, deref(d.Error), deref(d.Cause))
				}
			})
		})
	}
}
