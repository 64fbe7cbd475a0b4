package sfn

import (
	"strings"
	"testing"
)

// Parameters may be nested more deeply than JSON is read: the task fails.
func TestParametersNestedTooDeeply(t *testing.T) {
	input := `{"a":` + strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999) + `}`
	for resource, member := range map[string]string{"states:startExecution": "Input", "sqs:sendMessage": "MessageBody", "lambda:invoke": "Payload"} {
		bubble(t, func(t *testing.T, r *rig) {
			arn := r.start(states(`"A":{"Type":"Task","Resource":"arn:aws:states:::`+resource+`","Parameters":{"`+member+`":{"in.$":"$"}},"End":true}`), input)
			if d := r.end(arn); d.Status != "FAILED" || *d.Error != "States.Runtime" {
				t.Errorf("%s: %s %v", resource, d.Status, d.Error)
			}
		})
	}
}
