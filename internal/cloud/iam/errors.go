package iam

import (
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

func noEntity(text string) error     { return &types.NoSuchEntityException{Message: &text} }
func conflict(text string) error     { return &types.DeleteConflictException{Message: &text} }
func exists(text string) error       { return &types.EntityAlreadyExistsException{Message: &text} }
func overLimit(text string) error    { return &types.LimitExceededException{Message: &text} }
func badInput(text string) error     { return &types.InvalidInputException{Message: &text} }
func malformed(text string) error    { return &types.MalformedPolicyDocumentException{Message: &text} }
func unchangeable(text string) error { return &types.UnmodifiableEntityException{Message: &text} }
func validation(text string) error   { return wire.Errorf("ValidationError", "%s", text) }

func (k *kind) missing(name string) error {
	return noEntity("The " + k.word + " with name " + name + " cannot be found.")
}

func noPolicy(arn string) error { return noEntity("Policy " + arn + " was not found.") }

// checkDocument refuses what is no policy of the given kind, in IAM's words.
func checkDocument(document string, k authz.Kind) (*authz.Policy, error) {
	p, err := authz.Parse(document)
	if err == nil {
		err = p.Check(k)
	}
	if e, ok := errors.AsType[*authz.ParseError](err); ok {
		return nil, malformed(e.Reason)
	}
	return p, err
}
