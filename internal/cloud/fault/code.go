package fault

import (
	"net/http"

	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	dynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	events "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	kms "github.com/aws/aws-sdk-go-v2/service/kms/types"
	lambda "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	sns "github.com/aws/aws-sdk-go-v2/service/sns/types"
	sqs "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/cloud/wire"
)

const (
	rateExceeded = "Rate exceeded"
	unknownError = "The request processing has failed because of an unknown error, exception or failure."
)

// A wording makes a service's own error, with a message instead of the usual
// one unless that is empty.
type wording func(message string) error

// throttles are what services answer to too many calls, by their API
// references. Where the SDK has a type for it, it is of that type: by it,
// Step Functions names the error.
var throttles = map[string]wording{
	"apigateway": plain("TooManyRequestsException", "Too Many Requests", http.StatusTooManyRequests),
	"dynamodb": modelled("Throughput exceeds the current throughput limit for your table or index. DynamoDB is automatically scaling your table or index so please try again shortly.",
		func(m *string) error { return &dynamodb.ThrottlingException{Message: m} }),
	"events": modelled(rateExceeded, func(m *string) error { return &events.ThrottlingException{Message: m} }),
	"iam":    plain("Throttling", rateExceeded, http.StatusBadRequest),
	"kms":    plain("ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.", http.StatusBadRequest),
	"lambda": modelled("Rate Exceeded.", func(m *string) error {
		return &lambda.TooManyRequestsException{Message: m, Reason: lambda.ThrottleReasonCallerRateLimitExceeded, Type: new("User")}
	}),
	"logs": modelled(rateExceeded, func(m *string) error { return &logs.ThrottlingException{Message: m} }),
	"s3":   plain("SlowDown", "Please reduce your request rate.", http.StatusServiceUnavailable),
	"sns":  modelled(rateExceeded, func(m *string) error { return &sns.ThrottledException{Message: m} }),
	"sqs":  modelled("The request was denied due to request throttling.", func(m *string) error { return &sqs.RequestThrottled{Message: m} }),
	"sts":  plain("Throttling", rateExceeded, http.StatusBadRequest),
}

// failures are what services answer when the fault is theirs.
var failures = map[string]wording{
	"apigateway": plain("InternalServerErrorException", "Internal server error", http.StatusInternalServerError),
	"dynamodb":   modelled(unknownError, func(m *string) error { return &dynamodb.InternalServerError{Message: m} }),
	"events":     modelled("This exception occurs due to unexpected causes.", func(m *string) error { return &events.InternalException{Message: m} }),
	"iam":        plain("ServiceFailure", unknownError, http.StatusInternalServerError),
	"kms":        modelled("An internal error occurred.", func(m *string) error { return &kms.KMSInternalException{Message: m} }),
	"lambda": modelled("The AWS Lambda service encountered an internal error.", func(m *string) error {
		return &lambda.ServiceException{Message: m, Type: new("Service")}
	}),
	"logs":    modelled("The service cannot complete the request.", func(m *string) error { return &logs.ServiceUnavailableException{Message: m} }),
	"s3":      plain("InternalError", "We encountered an internal error. Please try again.", http.StatusInternalServerError),
	"sns":     modelled("An internal error occurred.", func(m *string) error { return &sns.InternalErrorException{Message: m} }),
	"tagging": plain("InternalServiceException", unknownError, http.StatusInternalServerError),
}

// What the other services answer, as most of AWS does.
var (
	throttled = plain("ThrottlingException", rateExceeded, http.StatusBadRequest)
	failed    = plain("InternalFailure", unknownError, http.StatusInternalServerError)
)

const refused = "The request was denied by an injected fault."

// denials are those of services that do not say AccessDeniedException.
var denials = map[string]wording{
	"iam": plain("AccessDenied", refused, http.StatusForbidden),
	"s3":  plain("AccessDenied", refused, http.StatusForbidden),
	"sns": plain("AuthorizationError", refused, http.StatusForbidden),
	"sts": plain("AccessDenied", refused, http.StatusForbidden),
}

func modelled(usual string, make func(*string) error) wording {
	return func(message string) error {
		if message == "" {
			message = usual
		}
		return make(&message)
	}
}

func plain(code, usual string, status int) wording {
	return func(message string) error {
		if message == "" {
			message = usual
		}
		return &wire.Error{Code: code, Message: message, Status: status, Server: status >= http.StatusInternalServerError}
	}
}

// err is the error that the rule gives in a service's name.
func (r *Rule) err(service string) error {
	all, say := failures, failed
	switch r.Kind {
	case Throttle:
		all, say = throttles, throttled
	case Denied:
		all, say = denials, plain("AccessDeniedException", refused, http.StatusBadRequest)
	}
	if own, ok := all[service]; ok {
		say = own
	}
	if r.Code != "" {
		status := http.StatusBadRequest
		if r.Kind == Error {
			status = http.StatusInternalServerError
		}
		say = plain(r.Code, r.Code, status)
	}
	return say(r.Message)
}

// answer is what an HTTP API says, which has no codes.
func (r *Rule) answer() (status int, message string) {
	switch r.Kind {
	case Throttle:
		status, message = http.StatusTooManyRequests, "Too Many Requests"
	case Denied:
		status, message = http.StatusForbidden, "Forbidden"
	default:
		status, message = http.StatusInternalServerError, "Internal Server Error"
	}
	if r.Message != "" {
		message = r.Message
	}
	return status, message
}
