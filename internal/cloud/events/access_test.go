package events

import (
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

func TestServicesTellTheDefaultBusOnlyAboutThemselves(t *testing.T) {
	deploy := authz.ServicePrincipal("codedeploy", "arn:aws:codedeploy:us-east-1:123456789012:deploymentgroup:a/g", "123456789012")
	user := authz.Principal{Type: authz.User, ARN: "arn:aws:iam::123456789012:user/u", Account: "123456789012"}
	for name, c := range map[string]struct {
		who    authz.Principal
		source string
		bus    *string
		judged bool
	}{
		"its own events":         {deploy, "aws.codedeploy", nil, false},
		"another service's":      {deploy, "aws.s3", nil, true},
		"a custom bus":           {deploy, "aws.codedeploy", new("custom"), true},
		"a user, as the service": {user, "aws.codedeploy", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Service{}
			got := s.putsEvents(&wire.Call{Region: "us-east-1", Account: "123456789012", Principal: c.who}, &sdk.PutEventsInput{Entries: []types.PutEventsRequestEntry{{Source: &c.source, EventBusName: c.bus}}})
			if (len(got) > 0) != c.judged {
				t.Errorf("judged by %v", got)
			}
		})
	}
}
