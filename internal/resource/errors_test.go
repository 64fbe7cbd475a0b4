package resource

import (
	"errors"
	"testing"

	"github.com/aws/smithy-go"

	"miniforge/internal/graph"
)

func apiError(code, message string) error {
	return &smithy.GenericAPIError{Code: code, Message: message}
}

func TestFailedTellsRacesFromMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		race bool
	}{
		"role not visible to Lambda":     {apiError("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."), true},
		"bad handler":                    {apiError("InvalidParameterValueException", "Handler is malformed"), false},
		"function pending":               {apiError("ResourceConflictException", "The operation cannot be performed at this time. The function is currently in the following state: Pending"), true},
		"function made by a lost call":   {apiError("ResourceConflictException", "Function already exist: f"), true},
		"stream not readable yet":        {apiError("InvalidParameterValueException", "Cannot access stream arn:x. Please ensure the role can perform the GetRecords"), true},
		"role not visible to states":     {apiError("AccessDeniedException", "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the provided role."), true},
		"caller may not":                 {apiError("AccessDeniedException", "User: x is not authorized to perform: states:CreateStateMachine"), false},
		"machine of that name is dying":  {apiError("StateMachineDeleting", "State Machine is being deleted"), true},
		"queue name in its quarantine":   {apiError("AWS.SimpleQueueService.QueueDeletedRecently", "You must wait 60 seconds after deleting a queue"), true},
		"table busy":                     {apiError("ResourceInUseException", "Attempt to change a resource which is still in use: Table is being updated: t"), true},
		"table made by a lost call":      {apiError("ResourceInUseException", "Table already exists: t"), true},
		"API changed by somebody else":   {apiError("ConflictException", "Unable to complete operation due to concurrent modification. Please try again later."), true},
		"principal not visible to KMS":   {apiError("MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals."), true},
		"bucket being deleted elsewhere": {apiError("OperationAborted", "A conflicting conditional operation is currently in progress against this resource."), true},
		"no API error at all":            {errors.New("connection refused"), false},
	} {
		t.Run(name, func(t *testing.T) {
			got := failed("create", "x", c.err)
			_, race := errors.AsType[*graph.NotYet](got)
			if race != c.race {
				t.Errorf("NotYet = %v for %v", race, got)
			}
			if !errors.Is(got, c.err) {
				t.Errorf("%v lost its cause", got)
			}
		})
	}
	if failed("create", "x", nil) != nil || deleted("x", apiError("NoSuchEntity", "")) != nil {
		t.Error("success became an error")
	}
}

func TestCanonical(t *testing.T) {
	for name, c := range map[string]struct {
		a, b  string
		equal bool
	}{
		"order of keys":       {`{"a":1,"b":2}`, `{"b":2,"a":1}`, true},
		"one-element list":    {`{"Action":["s3:*"]}`, `{"Action":"s3:*"}`, true},
		"order of a list":     {`{"Action":["b","a"]}`, `{"Action":["a","b"]}`, true},
		"boolean as text":     {`{"c":{"Bool":{"t":"false"}}}`, `{"c":{"Bool":{"t":[false]}}}`, true},
		"number as text":      {`{"maxReceiveCount":5}`, `{"maxReceiveCount":"5"}`, true},
		"one action more":     {`{"Action":["a"]}`, `{"Action":["a","b"]}`, false},
		"Allow is not Deny":   {`{"Effect":"Allow"}`, `{"Effect":"Deny"}`, false},
		"order of statements": {`[{"Sid":"a"},{"Sid":"b"}]`, `[{"Sid":"b"},{"Sid":"a"}]`, false},
		"nothing there":       {`{"Effect":"Allow"}`, ``, false},
		"no JSON":             {`{`, `{ `, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := canonical(c.a) == canonical(c.b); got != c.equal {
				t.Errorf("equal = %v:\n%s\n%s", got, canonical(c.a), canonical(c.b))
			}
		})
	}
}

func TestPolicyText(t *testing.T) {
	p := Policy{{Effect: "Deny", Principal: "*", Action: []string{"sqs:*"}, Resource: []string{"arn"},
		Condition: Conditions{"Bool": {"aws:SecureTransport": {"false"}}}}}
	want := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":["sqs:*"],"Resource":["arn"],"Condition":{"Bool":{"aws:SecureTransport":["false"]}}}]}`
	if p.String() != want {
		t.Errorf("got %s", p)
	}
}
