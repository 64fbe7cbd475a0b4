package lambda

import (
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

// environmentError is what Lambda makes of KMS's refusal to open a function's
// environment; KMS's own failures stay.
//
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors
func environmentError(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorFault() == smithy.FaultServer {
		return err
	}
	text := func(why string) *string {
		return new("Lambda was unable to decrypt the environment variables because " + why +
			". Please check the function's KMS key settings. KMS Exception: " + api.ErrorCode() + "KMS Message: " + api.ErrorMessage())
	}
	user := new("User")
	switch api.ErrorCode() {
	case "DisabledException":
		return &types.KMSDisabledException{Message: text("the KMS key used is disabled"), Type: user}
	case "KMSInvalidStateException":
		return &types.KMSInvalidStateException{Message: text("the KMS key used is in an invalid state for Decrypt"), Type: user}
	case "NotFoundException":
		return &types.KMSNotFoundException{Message: text("the KMS key was not found"), Type: user}
	}
	return &types.KMSAccessDeniedException{Message: text("KMS access was denied"), Type: user}
}
