package sts

import (
	"context"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sts"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerIdentity(api *wire.API) {
	wire.Handle(api, s.GetCallerIdentity, free[sdk.GetCallerIdentityInput]())
	wire.Handle(api, s.GetSessionToken, free[sdk.GetSessionTokenInput](), wire.Members("DurationSeconds 900..129600", `SerialNumber 9..256 [\w+=/:,.@-]*`, `TokenCode 6..6 [\d]*`))
	wire.Handle(api, s.GetAccessKeyInfo, wire.Members(`AccessKeyId! 16..128 [\w]*`))
}

// free is an operation that everybody may do, whatever the policies say.
func free[In any]() wire.Option {
	return wire.Needs(func(*wire.Call, *In) []authz.Access { return nil })
}

// GetCallerIdentity tells who the caller is.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *sdk.GetCallerIdentityInput) (*sdk.GetCallerIdentityOutput, error) {
	who := wire.CallOf(ctx).Principal
	return &sdk.GetCallerIdentityOutput{Account: &who.Account, Arn: &who.ARN, UserId: &who.ID}, nil
}

// GetSessionToken issues temporary credentials for the caller itself.
func (s *Service) GetSessionToken(ctx context.Context, in *sdk.GetSessionTokenInput) (*sdk.GetSessionTokenOutput, error) {
	who := wire.CallOf(ctx).Principal
	if who.Type != authz.User && who.Type != authz.Root || !who.Issued.IsZero() {
		return nil, wire.Errorf("AccessDenied", "Cannot call GetSessionToken with session credentials")
	}
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, wire.Errorf("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
	}
	d := 12 * time.Hour
	if in.DurationSeconds != nil {
		d = time.Duration(*in.DurationSeconds) * time.Second
	}
	if who.Type == authz.Root {
		d = min(d, time.Hour)
	}
	c, err := s.issue(who, d)
	return &sdk.GetSessionTokenOutput{Credentials: c}, err
}

// GetAccessKeyInfo tells which account an access key belongs to.
func (s *Service) GetAccessKeyInfo(_ context.Context, in *sdk.GetAccessKeyInfoInput) (*sdk.GetAccessKeyInfoOutput, error) {
	if !strings.HasPrefix(*in.AccessKeyId, "A") {
		return nil, validation("Invalid Access Key ID: " + *in.AccessKeyId)
	}
	return &sdk.GetAccessKeyInfoOutput{Account: &s.Account}, nil
}
