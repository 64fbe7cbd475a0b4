package codedeploy

import (
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

// A step that another service could not serve for now is tried again for
// about two minutes.
const maxAttempts = 8

func backoff(attempts int) time.Duration { return time.Second << min(attempts, 5) }

// A deployError is why a deployment fails, in CodeDeploy's words.
type deployError struct {
	code types.ErrorCode
	text string
}

func (e *deployError) Error() string { return string(e.code) + ": " + e.text }

// A roleError is a role that CodeDeploy could not assume.
type roleError struct {
	role string
	err  error
}

func (e *roleError) Error() string { return "assume role " + e.role + ": " + e.err.Error() }
func (e *roleError) Unwrap() error { return e.err }

// denied tells an answer that more rights would change.
func denied(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (strings.HasPrefix(api.ErrorCode(), "AccessDenied") || api.ErrorCode() == "Forbidden" || strings.HasPrefix(api.ErrorCode(), "KMSAccessDenied"))
}

// invalidRole is what CreateDeploymentGroup answers when the role cannot be
// assumed: because it is not there, is none, or does not trust CodeDeploy.
func invalidRole(err error, role string) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorFault() == smithy.FaultServer {
		return err
	}
	return &types.InvalidRoleException{Message: new("AWS CodeDeploy does not have the permissions required to assume the role " + role + ".")}
}

// A finding is what an error means for a deployment.
type finding struct {
	code      types.ErrorCode
	text      string
	transient bool // time may cure it
}

// explain finds what an error of another service means.
func explain(err error) finding {
	if e, ok := errors.AsType[*deployError](err); ok {
		return finding{code: e.code, text: e.text}
	}
	if e, ok := errors.AsType[*roleError](err); ok && denied(err) {
		return finding{code: types.ErrorCodeIamRolePermissions, text: "AWS CodeDeploy does not have the permissions required to assume the role " + e.role + "."}
	}
	if denied(err) {
		return finding{code: types.ErrorCodeIamRolePermissions, text: "The service role does not have the permissions that the deployment needs: " + message(err)}
	}
	if throttled(err) {
		return finding{code: types.ErrorCodeThrottled, text: "Another service kept on throttling the deployment: " + message(err), transient: true}
	}
	if _, ok := errors.AsType[*lambdatypes.ResourceNotFoundException](err); ok {
		if strings.Contains(strings.ToLower(message(err)), "alias") {
			return finding{code: types.ErrorCodeInvalidLambdaConfiguration, text: message(err)}
		}
		return finding{code: types.ErrorCodeInvalidLambdaFunction, text: message(err)}
	}
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case !ok || api.ErrorFault() == smithy.FaultServer || api.ErrorCode() == "ResourceConflictException":
		return finding{code: types.ErrorCodeInternalError, text: message(err), transient: true}
	case strings.HasPrefix(api.ErrorCode(), "NoSuch") || api.ErrorCode() == "PreconditionFailed" || api.ErrorCode() == "NotFound":
		return finding{code: types.ErrorCodeRevisionMissing, text: err.Error()}
	}
	return finding{code: types.ErrorCodeInvalidLambdaConfiguration, text: message(err)}
}

func throttled(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	c := api.ErrorCode()
	return strings.Contains(c, "Throttl") || c == "TooManyRequestsException" || c == "SlowDown" || c == "RequestLimitExceeded"
}

// message is what an error tells people: the service's own words where there are some.
func message(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorMessage() != "" {
		return api.ErrorMessage()
	}
	return err.Error()
}
