package asl_test

import (
	"os"
	"strings"
	"testing"

	"miniforge/internal/cloud/sfn/asl"
)

func TestParseWorkflow(t *testing.T) {
	raw, err := os.ReadFile("../../../../asl/fulfilment.asl.json")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, n := range []string{"InventoryCheckerArn", "PaymentProcessorArn"} {
		text = strings.ReplaceAll(text, "${"+n+"}", "arn:aws:lambda:us-east-1:123456789012:function:f:live")
	}
	m, found := asl.Parse([]byte(text))
	if m == nil || len(found) > 0 {
		t.Fatalf("diagnostics: %v", found)
	}
}

func TestParseDiagnostics(t *testing.T) {
	for name, c := range map[string]struct{ definition, want string }{
		"no JSON":          {`{`, "INVALID_JSON_DESCRIPTION"},
		"no object":        {`[]`, "SCHEMA_VALIDATION_FAILED: Value is not of type object at /"},
		"missing target":   {`{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"}}}`, "MISSING_TRANSITION_TARGET: Missing 'Next' target: B at /States/A/Next"},
		"missing start":    {`{"StartAt":"X","States":{"A":{"Type":"Succeed"}}}`, "MISSING_TRANSITION_TARGET: Missing 'StartAt' target: X at /StartAt"},
		"unreachable":      {`{"StartAt":"A","States":{"A":{"Type":"Succeed"},"B":{"Type":"Succeed"}}}`, `MISSING_TRANSITION_TARGET: State "B" is not reachable. at /States/B`},
		"bad path":         {`{"StartAt":"A","States":{"A":{"Type":"Pass","InputPath":"a","End":true}}}`, "at /States/A/InputPath"},
		"bad template":     {`{"StartAt":"A","States":{"A":{"Type":"Pass","Parameters":{"x.$":"a"},"End":true}}}`, "The value for the field 'x.$' must be a valid JSONPath or a valid intrinsic function call at /States/A/Parameters/x.$"},
		"unknown function": {`{"StartAt":"A","States":{"A":{"Type":"Pass","Parameters":{"x.$":"States.Nope()"},"End":true}}}`, "valid intrinsic function call"},
		"unknown field":    {`{"StartAt":"A","States":{"A":{"Type":"Pass","Foo":1,"End":true}}}`, "Field is not supported at /States/A/Foo"},
		"no end":           {`{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"A"}}}`, "MISSING_END_STATE"},
		"next and end":     {`{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"A","End":true}}}`, "Only one of the fields [Next, End]"},
		"all not last":     {`{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","End":true,"Retry":[{"ErrorEquals":["States.ALL"]},{"ErrorEquals":["X"]}]}}}`, "States.ALL must appear alone"},
		"twice":            {`{"StartAt":"A","States":{"A":{"Type":"Parallel","End":true,"Branches":[{"StartAt":"A","States":{"A":{"Type":"Succeed"}}}]}}}`, "DUPLICATE_STATE_NAME"},
		"two operators":    {`{"StartAt":"A","States":{"A":{"Type":"Choice","Choices":[{"Variable":"$.a","IsNull":true,"IsString":true,"Next":"B"}]},"B":{"Type":"Succeed"}}}`, "exactly one comparison operator"},
		"bad resource":     {`{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"nothing","End":true}}}`, "Value is not a valid resource ARN at /States/A/Resource"},
		"JSONata":          {`{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Succeed"}}}`, "use JSONPath at /QueryLanguage"},
	} {
		t.Run(name, func(t *testing.T) {
			m, found := asl.Parse([]byte(c.definition))
			if m != nil || len(found) == 0 {
				t.Fatal("accepted")
			}
			all := ""
			for _, d := range found {
				all += d.String() + "\n"
			}
			if !strings.Contains(all, c.want) {
				t.Errorf("got %s want %s", all, c.want)
			}
		})
	}
}
