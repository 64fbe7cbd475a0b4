package authz

import (
	"strings"

	"github.com/aws/smithy-go"
)

// A DeniedError says that a principal may not do something, in the words of
// AWS. Its code is that of the action's service.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
type DeniedError struct {
	Principal Principal
	Action    string
	Resource  string
	Decision  Decision
}

var _ smithy.APIError = (*DeniedError)(nil)

func (e *DeniedError) Error() string { return e.ErrorCode() + ": " + e.ErrorMessage() }

// ErrorFault implements [smithy.APIError].
func (e *DeniedError) ErrorFault() smithy.ErrorFault { return smithy.FaultClient }

// ErrorCode is the code that the action's service gives to a refusal.
func (e *DeniedError) ErrorCode() string {
	service, _, _ := strings.Cut(e.Action, ":")
	switch service {
	case "sns":
		return "AuthorizationError"
	case "s3", "iam", "sts":
		return "AccessDenied"
	}
	return "AccessDeniedException"
}

// ErrorMessage names principal, action, resource and reason.
func (e *DeniedError) ErrorMessage() string {
	who := e.Principal.ARN
	if e.Principal.Type == Service {
		who = e.Principal.Service
	}
	if e.Principal.Type == Anonymous {
		who = "anonymous"
	}
	action := e.spelled()
	text := "User: " + who + " is not authorized to perform: " + action
	s3 := strings.HasPrefix(e.Action, "s3:")
	switch {
	case s3 && e.Resource != "*":
		text += ` on resource: "` + e.Resource + `"`
	case !s3 && e.Resource != "":
		text += " on resource: " + e.Resource
	}
	if strings.HasPrefix(e.Action, "sts:") {
		return text // STS never says which policy is missing
	}
	kind := string(e.Decision.Source)
	if e.Decision.Explicit {
		return text + " with an explicit deny in " + article(kind)
	}
	return text + " because no " + kind + " allows the " + action + " action"
}

// spelled is the action in the letters of its service's refusals.
func (e *DeniedError) spelled() string {
	service, name, _ := strings.Cut(e.Action, ":")
	switch service {
	case "sqs":
		return strings.ToLower(e.Action)
	case "sns":
		return "SNS:" + name
	}
	return e.Action
}

func article(kind string) string {
	if strings.ContainsAny(kind[:1], "aeiou") {
		return "an " + kind
	}
	return "a " + kind
}
