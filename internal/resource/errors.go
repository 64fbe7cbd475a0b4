package resource

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"miniforge/internal/graph"
)

// hasCode reports whether err is an AWS error of one of these codes. Codes are
// compared rather than Go types, as not every endpoint answers in a way that
// the SDK maps to its modelled type.
func hasCode(err error, codes ...string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode())
}

// gone reports whether err says that a thing does not exist. The codes are
// those of all services used here.
func gone(err error) bool {
	return hasCode(err,
		"ResourceNotFoundException",     // Lambda, DynamoDB, EventBridge, Logs
		"NotFoundException", "NotFound", // KMS, API Gateway, S3 HEAD, SNS
		"NotFoundException.QueueDoesNotExist",     // some endpoints
		"QueueDoesNotExist",                       // SQS over JSON
		"AWS.SimpleQueueService.NonExistentQueue", // SQS, query compatible
		"ResourceNotFound",                        // SNS and Step Functions, about tags
		"NoSuchEntity", "NoSuchEntityException",   // IAM
		"StateMachineDoesNotExist",
		"NoSuchBucket", "NoSuchTagSet", "NoSuchBucketPolicy",
		"NoSuchPublicAccessBlockConfiguration",
		"ServerSideEncryptionConfigurationNotFoundError",
		"RepositoryDoesNotExistException", "BranchDoesNotExistException",
		"ApplicationDoesNotExistException", "DeploymentGroupDoesNotExistException", "DeploymentDoesNotExistException",
		"PipelineNotFoundException", "PipelineExecutionNotFoundException",
	)
}

// A race is an error that real AWS answers while something else is still
// spreading or being changed, and that the same call outlives. An empty text
// matches every message: then the code alone is proof.
type race struct{ code, text string }

// races is AWS's behaviour as recorded by those who deploy without
// CloudFormation. Everything that is not listed here fails at once: a retried
// permanent error is a user who waits for nothing.
var races = []race{
	{"InvalidParameterValueException", "cannot be assumed by Lambda"},
	{"InvalidParameterValueException", "execution role does not have permissions"},
	{"InvalidParameterValueException", "KMS key is invalid for CreateGrant"},
	{"InvalidParameterValueException", "Cannot access stream"},
	{"InvalidParameterValueException", "ensure the role can perform"},
	{"InvalidParameterValueException", "security token included in the request is invalid"},
	{"ResourceConflictException", "currently in the following state: Pending"},
	{"ResourceConflictException", "update is in progress"},
	{"ResourceConflictException", "concurrent update operation"},
	{"ResourceInUseException", "because it is in use"},
	{"ResourceInUseException", "being created"},
	{"ResourceInUseException", "being updated"},
	{"ResourceInUseException", "being deleted"},
	{"AccessDeniedException", "authorized to assume the provided role"},
	{"AccessDeniedException", "not authorized to access the Log Destination"},
	{"StateMachineDeleting", ""},
	{"ValidationException", "cannot be assumed by principal"},
	{"ConcurrentModificationException", ""},
	{"ConcurrentModification", ""},
	{"MalformedPolicyDocumentException", "invalid principals"},
	{"MalformedPolicyDocument", "Invalid principal in policy"},
	{"InvalidParameter", "PrincipalNotFound"},
	{"InvalidAttributeValue", "Invalid value for the parameter Policy"},
	{"QueueDeletedRecently", ""},
	{"AWS.SimpleQueueService.QueueDeletedRecently", ""},
	{"OperationAborted", ""},
	{"OperationAbortedException", ""},
	{"BucketNotEmpty", ""},
	{"ConflictException", "concurrent modification"},
	{"TooManyRequestsException", ""},
	{"ContinuousBackupsUnavailableException", ""},
	{"DependencyTimeoutException", ""},
	{"LimitExceededException", "simultaneous"},
	{"InvalidStructureException", "not authorized to perform AssumeRole on role"},
	{"InvalidInputException", "ot authorized to perform"},
	{"InvalidRoleException", "permissions required to assume the role"},

	// What was absent a moment ago is there: the answer to the call that made it
	// was lost, and the call repeated. Another look tells whether it is ours.
	{"ResourceConflictException", "already exist"},
	{"ResourceInUseException", "already exists"},
	{"ResourceAlreadyExistsException", ""},
	{"EntityAlreadyExists", ""},
	{"EntityAlreadyExistsException", ""},
	{"AlreadyExistsException", ""},
	{"BucketAlreadyOwnedByYou", ""},
	{"ConflictException", "already exists"},
}

// failed says which call failed on what. Errors that time may cure become
// graph.NotYet; nil stays nil.
func failed(verb, what string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s %s: %w", verb, what, err)
	if isRace(err) {
		return &graph.NotYet{Err: wrapped}
	}
	return wrapped
}

// failedOnce is failed for a call that makes something new each time. Such a
// call must not be repeated by the SDK, which cannot know whether the first had
// its effect: here the resource is looked at again before.
func failedOnce(verb, what string, err error) error {
	if err != nil && passing.IsErrorRetryable(err).Bool() {
		return notYet(verb, what, err)
	}
	return failed(verb, what, err)
}

// passing are the errors that the SDK would repeat a call after.
var passing = retry.IsErrorRetryables(append(slices.Clip(retry.DefaultRetryables),
	retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusTooManyRequests: {}}}))

func isRace(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.ContainsFunc(races, func(r race) bool {
		return r.code == api.ErrorCode() && strings.Contains(strings.ToLower(api.ErrorMessage()), strings.ToLower(r.text))
	})
}

// deleted is failed for a deletion, where being gone already is success.
func deleted(what string, err error) error {
	if gone(err) {
		return nil
	}
	return failed("delete", what, err)
}

// notYet is failed for an error that only its caller can tell to be passing.
func notYet(verb, what string, err error) error {
	return &graph.NotYet{Err: fmt.Errorf("%s %s: %w", verb, what, err)}
}
