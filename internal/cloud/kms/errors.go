package kms

import (
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/wire"
)

func notFound(text string) error    { return &types.NotFoundException{Message: &text} }
func notFoundKey(arn string) error  { return notFound("Key '" + arn + "' does not exist") }
func invalid(text string) error     { return wire.Errorf("ValidationException", "%s", text) }
func unsupported(text string) error { return &types.UnsupportedOperationException{Message: &text} }
func disabled(arn string) error     { return &types.DisabledException{Message: new(arn + " is disabled.")} }
func badState(text string) error    { return &types.KMSInvalidStateException{Message: &text} }
func pending(arn string) error      { return badState(arn + " is pending deletion.") }
func malformed(text string) error   { return &types.MalformedPolicyDocumentException{Message: &text} }
func tagError(text string) error    { return &types.TagException{Message: &text} }

var errDryRun = &types.DryRunOperationException{Message: new("The request would have succeeded, but the DryRun option is set.")}

// alive refuses a key that waits for its deletion.
func (k *key) alive() error {
	if k.State == string(types.KeyStatePendingDeletion) {
		return pending(k.arn)
	}
	return nil
}

// usable refuses a key that may not do cryptography now.
func (k *key) usable() error {
	if k.State == string(types.KeyStateDisabled) {
		return disabled(k.arn)
	}
	return k.alive()
}
