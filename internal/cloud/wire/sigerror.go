package wire

import (
	"errors"
	"net/http"
)

const (
	mismatchText   = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	s3MismatchText = "The request signature we calculated does not match the signature you provided. Check your key and signing method."

	queryParametersText = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
	s3CredentialText    = `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`
)

// authError is what AWS answers, protocol by protocol, to a request that it
// cannot ascribe to anybody. None says how near the guess was.
func (a *API) authError(err error) error {
	if a.Protocol == RESTXML {
		return s3AuthError(err)
	}
	out := &Error{Status: http.StatusForbidden}
	set := func(json, query, text string) {
		out.Code, out.Message = json, text
		if a.Protocol == Query {
			out.Code = query
		}
	}
	incomplete := func(text string) {
		set("IncompleteSignatureException", "IncompleteSignature", text)
		if a.Protocol != Query {
			out.Status = http.StatusBadRequest
		}
	}
	var (
		unread     *incompleteError
		query      *presignError
		credential *credentialError
		skew       *skewError
	)
	switch {
	case errors.Is(err, errMissing):
		set("MissingAuthenticationTokenException", "MissingAuthenticationToken", "Request is missing Authentication Token")
	case errors.As(err, &unread):
		incomplete(unread.text)
	case errors.As(err, &query):
		incomplete(query.text)
	case errors.Is(err, errTwoSignatures):
		incomplete("Only one of the Authorization header and the query string may sign a request.")
	case errors.As(err, &credential):
		incomplete(credential.text)
	case errors.As(err, &skew):
		set("InvalidSignatureException", "SignatureDoesNotMatch", skew.text)
	case errors.Is(err, ErrUnknownKey), errors.Is(err, ErrInvalidToken):
		set("UnrecognizedClientException", "InvalidClientTokenId", "The security token included in the request is invalid.")
	case errors.Is(err, ErrExpiredToken):
		set("ExpiredTokenException", "ExpiredToken", "The security token included in the request is expired")
	case errors.Is(err, errSignature), errors.Is(err, errNotSigned), errors.Is(err, errOtherBody):
		set("InvalidSignatureException", "SignatureDoesNotMatch", mismatchText)
	default:
		return err
	}
	if a.Protocol == JSON10 || a.Protocol == JSON11 {
		out.Status = http.StatusBadRequest
	}
	return out
}

// s3AuthError is the same in the words of S3.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func s3AuthError(err error) error {
	fail := func(status int, code, text string) error { return &Error{Status: status, Code: code, Message: text} }
	const bad, forbidden = http.StatusBadRequest, http.StatusForbidden
	var (
		unread     *incompleteError
		query      *presignError
		credential *credentialError
		skew       *skewError
	)
	switch {
	case errors.Is(err, errMissing):
		return fail(forbidden, "AccessDenied", "Access Denied")
	case errors.As(err, &unread):
		return fail(bad, "AuthorizationHeaderMalformed", "The authorization header is malformed; "+unread.text)
	case errors.As(err, &query):
		return fail(bad, "AuthorizationQueryParametersError", query.s3)
	case errors.As(err, &credential) && credential.presigned:
		return fail(bad, "AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; "+s3CredentialText)
	case errors.As(err, &credential):
		return fail(bad, "AuthorizationHeaderMalformed", "The authorization header is malformed; "+s3CredentialText)
	case errors.Is(err, errTwoSignatures):
		return fail(bad, "InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
	case errors.As(err, &skew) && skew.presigned:
		return fail(forbidden, "AccessDenied", skew.text)
	case errors.As(err, &skew):
		return fail(forbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	case errors.Is(err, ErrUnknownKey):
		return fail(forbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	case errors.Is(err, ErrInvalidToken):
		return fail(bad, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	case errors.Is(err, ErrExpiredToken):
		return fail(bad, "ExpiredToken", "The provided token has expired.")
	case errors.Is(err, errNotSigned):
		return fail(forbidden, "AccessDenied", "There were headers present in the request which were not signed")
	case errors.Is(err, errNoDigest):
		return fail(bad, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	case errors.Is(err, errBadDigest):
		return fail(bad, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
	case errors.Is(err, errOtherBody):
		return fail(bad, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	case errors.Is(err, errSignature):
		return fail(forbidden, "SignatureDoesNotMatch", s3MismatchText)
	}
	return err
}
