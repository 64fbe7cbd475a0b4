package wire

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"miniforge/internal/cloud/authz"
)

// AssumeRole has a service assume a role for one of its resources, and returns
// the identity of that session: the role's trust policy must name
// "<service>.amazonaws.com". source is the resource for which it acts
// (aws:SourceArn).
func AssumeRole(ctx context.Context, c Caller, service, source, roleARN, session, region string) (As, error) {
	account := ""
	if p := strings.Split(roleARN, ":"); len(p) == 6 {
		account = p[4]
	}
	as := As{Principal: authz.ServicePrincipal(service, source, account), Region: region}
	out, err := Do[sts.AssumeRoleOutput](ctx, c, as, &sts.AssumeRoleInput{RoleArn: &roleARN, RoleSessionName: &session})
	if err != nil {
		return As{}, err
	}
	return As{Region: region, Principal: authz.Principal{
		Type: authz.AssumedRole, ARN: *out.AssumedRoleUser.Arn, ID: *out.AssumedRoleUser.AssumedRoleId,
		Account: account, RoleARN: roleARN,
	}}, nil
}
