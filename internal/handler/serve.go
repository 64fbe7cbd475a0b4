package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"miniforge/internal/handler/whoami"
)

// Serve has Lambda call handle, a function of one of the forms that
// [lambda.Start] takes. It does not return.
func Serve(p Process, handle any) {
	lambda.Start(answering{lambda.NewHandler(handle), sts.NewFromConfig(p.Config)})
}

// answering is a handler that also answers [whoami.Question].
type answering struct {
	lambda.Handler
	sts interface {
		GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
	}
}

// Invoke implements [lambda.Handler].
func (h answering) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	if !bytes.Equal(payload, []byte(whoami.Question)) {
		return h.Handler.Invoke(ctx, payload)
	}
	me, err := h.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("ask who the function is: %w", err)
	}
	return json.Marshal(whoami.Answer{ARN: aws.ToString(me.Arn)})
}
