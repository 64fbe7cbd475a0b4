package lambda

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

// own is Lambda's own identity, for looking up what needs no permission on AWS.
func (s *Service) own(region string) wire.As {
	endpoint, _ := s.Endpoint() // only answers that name URLs need it
	return wire.As{Region: region, Endpoint: endpoint, Principal: authz.Principal{
		Type: authz.Root, ARN: "arn:aws:iam::" + s.Account + ":root", ID: s.Account, Account: s.Account, Via: "lambda",
	}}
}

func (s *Service) toBus(ctx context.Context, as wire.As, n name, bus, body string) error {
	out, err := wire.Do[eventbridge.PutEventsOutput](ctx, s.Caller, as, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		EventBusName: &bus, Source: new("lambda"), DetailType: new("Lambda Function Invocation Result"), Detail: &body, Resources: []string{n.full()},
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = errors.New(*out.Entries[0].ErrorCode + ": " + *out.Entries[0].ErrorMessage)
	}
	return err
}

func (s *Service) toFunction(ctx context.Context, as wire.As, arn, body string) error {
	_, err := s.Caller.Call(ctx, as, &sdk.InvokeInput{FunctionName: &arn, InvocationType: types.InvocationTypeEvent, Payload: []byte(body)})
	return err
}
