package fault

import (
	"net/http"

	"miniforge/internal/cloud/wire"
)

// A reply is how a service words a refusal.
type reply struct {
	code, message string
	status        int
}

// throttles are what services answer to too many calls, by their API
// references; the others answer as most of AWS does.
var throttles = map[string]reply{
	"apigateway":  {"TooManyRequestsException", "Too Many Requests", http.StatusTooManyRequests},
	"dynamodb":    {"ThrottlingException", "Throughput exceeds the current throughput limit for your table or index. DynamoDB is automatically scaling your table or index so please try again shortly.", http.StatusBadRequest},
	"execute-api": {"TooManyRequestsException", "Too Many Requests", http.StatusTooManyRequests},
	"iam":         {"Throttling", "Rate exceeded", http.StatusBadRequest},
	"kms":         {"ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.", http.StatusBadRequest},
	"lambda":      {"TooManyRequestsException", "Rate Exceeded.", http.StatusTooManyRequests},
	"s3":          {"SlowDown", "Please reduce your request rate.", http.StatusServiceUnavailable},
	"sns":         {"Throttling", "Rate exceeded", http.StatusBadRequest},
	"sqs":         {"RequestThrottled", "The request was denied due to request throttling.", http.StatusBadRequest},
	"sts":         {"Throttling", "Rate exceeded", http.StatusBadRequest},
}

// failures are what services answer when the fault is theirs.
var failures = map[string]reply{
	"apigateway":  {"InternalServerErrorException", "Internal server error", http.StatusInternalServerError},
	"dynamodb":    {"InternalServerError", "The request processing has failed because of an unknown error, exception or failure.", http.StatusInternalServerError},
	"events":      {"InternalException", "This exception occurs due to unexpected causes.", http.StatusInternalServerError},
	"execute-api": {"InternalServerErrorException", "Internal Server Error", http.StatusInternalServerError},
	"iam":         {"ServiceFailure", "The request processing has failed because of an unknown error, exception or failure.", http.StatusInternalServerError},
	"kms":         {"KMSInternalException", "An internal error occurred.", http.StatusInternalServerError},
	"lambda":      {"ServiceException", "The AWS Lambda service encountered an internal error.", http.StatusInternalServerError},
	"logs":        {"ServiceUnavailableException", "The service cannot complete the request.", http.StatusServiceUnavailable},
	"s3":          {"InternalError", "We encountered an internal error. Please try again.", http.StatusInternalServerError},
	"sns":         {"InternalError", "An internal error occurred.", http.StatusInternalServerError},
	"tagging":     {"InternalServiceException", "The request processing failed because of an unknown error, exception, or failure.", http.StatusInternalServerError},
}

var (
	throttled = reply{"ThrottlingException", "Rate exceeded", http.StatusBadRequest}
	failed    = reply{"InternalFailure", "The request processing has failed because of an unknown error, exception or failure.", http.StatusInternalServerError}
	refused   = reply{"AccessDeniedException", "The request was denied by an injected fault.", http.StatusBadRequest}
)

// reply is the answer that the rule gives in a service's name.
func (r *Rule) reply(service string) reply {
	var a reply
	switch r.Kind {
	case Throttle:
		a = known(throttles, service, throttled)
	case Denied:
		a = refused
		if service == "s3" || service == "iam" || service == "sts" {
			a.code, a.status = "AccessDenied", http.StatusForbidden
		}
	default:
		a = known(failures, service, failed)
	}
	if r.Code != "" {
		a.code = r.Code
	}
	if r.Message != "" {
		a.message = r.Message
	}
	return a
}

func known(all map[string]reply, service string, otherwise reply) reply {
	if a, ok := all[service]; ok {
		return a
	}
	return otherwise
}

func (r *Rule) err(service string) error {
	a := r.reply(service)
	return &wire.Error{Code: a.code, Message: a.message, Status: a.status, Server: a.status >= http.StatusInternalServerError}
}
