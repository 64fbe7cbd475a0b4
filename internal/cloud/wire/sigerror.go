package wire

import (
	"errors"
	"net/http"
)

const mismatchText = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

// authError is what AWS answers, protocol by protocol, to a request that it
// cannot ascribe to anybody. None says how near the guess was.
func (a *API) authError(err error) error {
	out := &Error{Status: http.StatusForbidden}
	set := func(json, query, s3, text string) {
		out.Code, out.Message = json, text
		switch a.Protocol {
		case Query:
			out.Code = query
		case RESTXML:
			out.Code = s3
		}
	}
	incomplete, isIncomplete := errors.AsType[*incompleteError](err)
	skew, isSkew := errors.AsType[*skewError](err)
	switch {
	case errors.Is(err, errMissing):
		set("MissingAuthenticationTokenException", "MissingAuthenticationToken", "AccessDenied", "Request is missing Authentication Token")
		if a.Protocol == RESTXML {
			out.Message = "Access Denied"
		}
	case isIncomplete:
		set("IncompleteSignatureException", "IncompleteSignature", "AuthorizationHeaderMalformed", incomplete.text)
		if a.Protocol != Query {
			out.Status = http.StatusBadRequest
		}
	case isSkew:
		set("InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed", skew.text)
		if a.Protocol == RESTXML && skew.text == "Request has expired" {
			out.Code = "AccessDenied"
		}
	case errors.Is(err, ErrUnknownKey), errors.Is(err, ErrInvalidToken):
		set("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "The security token included in the request is invalid.")
		if a.Protocol == RESTXML {
			out.Message = "The AWS Access Key Id you provided does not exist in our records."
		}
	case errors.Is(err, ErrExpiredToken):
		set("ExpiredTokenException", "ExpiredToken", "ExpiredToken", "The security token included in the request is expired")
	case errors.Is(err, errSignature):
		set("InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch", mismatchText)
	default:
		return err
	}
	if a.Protocol == JSON10 || a.Protocol == JSON11 {
		out.Status = http.StatusBadRequest
	}
	return out
}
