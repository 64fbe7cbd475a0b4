package sts

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

const (
	account = "111122223333"
	roleARN = "arn:aws:iam::" + account + ":role/app/intake"
	policy  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
)

var (
	root = authz.Principal{Type: authz.Root, ARN: "arn:aws:iam::" + account + ":root", ID: account, Account: account}
	ann  = authz.Principal{Type: authz.User, ARN: "arn:aws:iam::" + account + ":user/ann", ID: "AIDAANN", Account: account}
)

// rig is the service behind a mux that enforces the trust of one role.
type rig struct {
	*Service
	mux *wire.Mux
}

func newRig(trust string) *rig {
	r := &rig{mux: wire.NewMux(wire.Options{Account: account})}
	r.Service = New(Options{
		Account: account, Master: []byte(strings.Repeat("m", 32)),
		Role: func(_ context.Context, arn string) (string, time.Duration, bool, error) {
			return "AROAINTAKE", 2 * time.Hour, arn == roleARN, nil
		},
		PolicyDocument: func(_ context.Context, arn string) (string, bool, error) {
			return policy, arn == "arn:aws:iam::aws:policy/AmazonS3FullAccess", nil
		},
	})
	r.Register(r.mux, nil)
	e := &authz.Engine{Account: account, Resource: func(_ context.Context, arn string) (string, error) {
		if arn != roleARN {
			return "", nil
		}
		return `{"Version":"2012-10-17","Statement":[` + trust + `]}`, nil
	}}
	r.mux.Use(func(next wire.Func) wire.Func {
		return func(ctx context.Context, c *wire.Call) (any, error) {
			if err := e.Authorize(ctx, c.Principal, authz.Common{Region: c.Region}, c.Access); err != nil {
				return nil, err
			}
			return next(ctx, c)
		}
	})
	return r
}

const trustAnn = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":["sts:AssumeRole","sts:TagSession"]}`

func (r *rig) assume(t *testing.T, who authz.Principal, in sdk.AssumeRoleInput) (*sdk.AssumeRoleOutput, error) {
	if in.RoleArn == nil {
		in.RoleArn = new(roleARN)
	}
	if in.RoleSessionName == nil {
		in.RoleSessionName = new("work")
	}
	return wire.Do[sdk.AssumeRoleOutput](t.Context(), r.mux, wire.As{Principal: who, Region: "us-east-1"}, &in)
}

func refused(t *testing.T, err error, code, message string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("got %v, want %s: %s", err, code, message)
	}
}

func TestAssumedRole(t *testing.T) {
	r := newRig(trustAnn)
	out, err := r.assume(t, ann, sdk.AssumeRoleInput{})
	if err != nil {
		t.Fatal(err)
	}
	if *out.AssumedRoleUser.Arn != "arn:aws:sts::111122223333:assumed-role/intake/work" || *out.AssumedRoleUser.AssumedRoleId != "AROAINTAKE:work" {
		t.Errorf("got %+v", out.AssumedRoleUser)
	}
	c := out.Credentials
	if !strings.HasPrefix(*c.AccessKeyId, "ASIA") || len(*c.AccessKeyId) != 20 {
		t.Errorf("access key %s", *c.AccessKeyId)
	}
	secret, p, err := r.Session(t.Context(), *c.AccessKeyId, *c.SessionToken)
	if err != nil || secret != *c.SecretAccessKey || p.RoleARN != roleARN || p.Type != authz.AssumedRole || p.ARN != *out.AssumedRoleUser.Arn {
		t.Errorf("session %+v, %v", p, err)
	}
	who, err := wire.Do[sdk.GetCallerIdentityOutput](t.Context(), r.mux, wire.As{Principal: p, Region: "us-east-1"}, &sdk.GetCallerIdentityInput{})
	if err != nil || *who.Arn != p.ARN || *who.UserId != "AROAINTAKE:work" || *who.Account != account {
		t.Errorf("caller %+v, %v", who, err)
	}
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(trustAnn)
		a, err := r.assume(t, ann, sdk.AssumeRoleInput{DurationSeconds: new(int32(900))})
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.assume(t, ann, sdk.AssumeRoleInput{})
		if err != nil {
			t.Fatal(err)
		}
		id, token := *a.Credentials.AccessKeyId, *a.Credentials.SessionToken
		raw, err := base64.StdEncoding.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), *a.Credentials.SecretAccessKey) || strings.Contains(string(raw), "intake") {
			t.Error("the token can be read")
		}
		raw[len(raw)/2] ^= 1
		for _, when := range []string{"at first", "when both are known"} {
			for name, bad := range map[string]string{
				"another session's": *b.Credentials.SessionToken, "changed": base64.StdEncoding.EncodeToString(raw), "empty": "", "no token": "%%%", "cut off": token[:40],
			} {
				if _, _, err := r.Session(t.Context(), id, bad); !errors.Is(err, wire.ErrInvalidToken) {
					t.Errorf("%s, %s: %v", name, when, err)
				}
			}
			for _, c := range []*types.Credentials{a.Credentials, b.Credentials} {
				if secret, p, err := r.Session(t.Context(), *c.AccessKeyId, *c.SessionToken); err != nil || secret != *c.SecretAccessKey || p.RoleARN != roleARN {
					t.Errorf("%s: %+v, %v", when, p, err)
				}
			}
		}
		again := New(r.Options)
		if _, _, err := again.Session(t.Context(), id, token); err != nil {
			t.Errorf("after a restart: %v", err)
		}
		other := r.Options
		other.Master = make([]byte, 32)
		if _, _, err := New(other).Session(t.Context(), id, token); !errors.Is(err, wire.ErrInvalidToken) {
			t.Errorf("of another cloud: %v", err)
		}
		time.Sleep(900 * time.Second)
		if _, _, err := r.Session(t.Context(), id, token); !errors.Is(err, wire.ErrExpiredToken) {
			t.Errorf("after its time: %v", err)
		}
		if _, _, err := r.Session(t.Context(), *b.Credentials.AccessKeyId, *b.Credentials.SessionToken); err != nil {
			t.Errorf("the longer one ended too: %v", err)
		}
	})
}

func TestTrustDecides(t *testing.T) {
	const notAuthorized = "is not authorized to perform: sts:AssumeRole on resource: " + roleARN
	lambda := authz.ServicePrincipal("lambda", "arn:aws:lambda:us-east-1:111122223333:function:f", account)
	for name, c := range map[string]struct {
		trust string
		who   authz.Principal
		in    sdk.AssumeRoleInput
		want  string
	}{
		"trusted user":                {trustAnn, ann, sdk.AssumeRoleInput{}, ""},
		"nobody is trusted":           {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"sts:AssumeRole"}`, ann, sdk.AssumeRoleInput{}, "User: " + ann.ARN + " " + notAuthorized},
		"account alone is not enough": {`{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}`, ann, sdk.AssumeRoleInput{}, notAuthorized},
		"service":                     {`{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}`, lambda, sdk.AssumeRoleInput{}, ""},
		"another service":             {`{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole"}`, lambda, sdk.AssumeRoleInput{}, "User: lambda.amazonaws.com " + notAuthorized},
		"service for another resource": {`{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:lambda:us-east-1:111122223333:function:g"}}}`,
			lambda, sdk.AssumeRoleInput{}, notAuthorized},
		"external id":         {`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x1"}}}`, ann, sdk.AssumeRoleInput{ExternalId: new("x1")}, ""},
		"missing external id": {`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x1"}}}`, ann, sdk.AssumeRoleInput{}, notAuthorized},
		"tags need TagSession": {`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":"sts:AssumeRole"}`, ann,
			sdk.AssumeRoleInput{Tags: []types.Tag{{Key: new("a"), Value: new("b")}}}, "sts:TagSession"},
		"unknown role": {trustAnn, ann, sdk.AssumeRoleInput{RoleArn: new("arn:aws:iam::111122223333:role/none")}, "is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/none"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newRig(c.trust).assume(t, c.who, c.in)
			if c.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			} else if c.want != "" {
				refused(t, err, "AccessDenied", c.want)
			}
		})
	}
}

func TestSessionsAreNarrowedAndTagged(t *testing.T) {
	r := newRig(trustAnn)
	out, err := r.assume(t, ann, sdk.AssumeRoleInput{
		Policy: new(policy), PolicyArns: []types.PolicyDescriptorType{{Arn: new("arn:aws:iam::aws:policy/AmazonS3FullAccess")}},
		Tags: []types.Tag{{Key: new("team"), Value: new("forge")}, {Key: new("x"), Value: new("y")}}, TransitiveTagKeys: []string{"team"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := r.Session(t.Context(), *out.Credentials.AccessKeyId, *out.Credentials.SessionToken)
	if err != nil || len(p.SessionPolicy) != 2 || p.Tags["team"] != "forge" || len(p.Transitive) != 1 || out.PackedPolicySize == nil {
		t.Errorf("session %+v, %v", p, err)
	}
	chained := newRig(`{"Effect":"Allow","Principal":{"AWS":"` + roleARN + `"},"Action":"sts:*"}`)
	_, err = chained.assume(t, p, sdk.AssumeRoleInput{})
	refused(t, err, "AccessDenied", "sts:AssumeRole") // its policy is about S3 only
	p.SessionPolicy = nil
	next, err := chained.assume(t, p, sdk.AssumeRoleInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, q, err := chained.Session(t.Context(), *next.Credentials.AccessKeyId, *next.Credentials.SessionToken); err != nil || q.Tags["team"] != "forge" || q.Tags["x"] != "" {
		t.Errorf("only transitive tags pass on: %v, %v", q.Tags, err)
	}
	_, err = chained.assume(t, p, sdk.AssumeRoleInput{Tags: []types.Tag{{Key: new("TEAM"), Value: new("z")}}})
	refused(t, err, "ValidationError", "conflicts with a transitive tag key")
	_, err = chained.assume(t, p, sdk.AssumeRoleInput{DurationSeconds: new(int32(5400))})
	refused(t, err, "ValidationError", "1 hour session limit for roles assumed by role chaining")
}

func TestBadRequests(t *testing.T) {
	r := newRig(`{"Effect":"Allow","Principal":"*","Action":"sts:*"}`)
	for name, c := range map[string]struct {
		in            sdk.AssumeRoleInput
		code, message string
	}{
		"longer than the role allows": {sdk.AssumeRoleInput{DurationSeconds: new(int32(10000))}, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		"too short":                   {sdk.AssumeRoleInput{DurationSeconds: new(int32(1))}, "ValidationError", "greater than or equal to 900"},
		"bad session name":            {sdk.AssumeRoleInput{RoleSessionName: new("a b")}, "ValidationError", "regular expression"},
		"session policy is no JSON":   {sdk.AssumeRoleInput{Policy: new("{")}, "MalformedPolicyDocument", "invalid Json"},
		"unknown session policy":      {sdk.AssumeRoleInput{PolicyArns: []types.PolicyDescriptorType{{Arn: new("arn:aws:iam::aws:policy/None")}}}, "MalformedPolicyDocument", "does not exist"},
		"transitive but not a tag":    {sdk.AssumeRoleInput{TransitiveTagKeys: []string{"a"}}, "ValidationError", "transitive tag key"},
		"tag twice":                   {sdk.AssumeRoleInput{Tags: []types.Tag{{Key: new("a"), Value: new("")}, {Key: new("A"), Value: new("")}}}, "ValidationError", "Duplicate tag keys"},
		"MFA":                         {sdk.AssumeRoleInput{SerialNumber: new("arn:aws:iam::111122223333:mfa/x"), TokenCode: new("123456")}, "AccessDenied", "MFA"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.assume(t, ann, c.in)
			refused(t, err, c.code, c.message)
		})
	}
	_, err := newRig(trustAnn).assume(t, root, sdk.AssumeRoleInput{})
	refused(t, err, "AccessDenied", "Roles may not be assumed by root accounts.")
}

func TestSessionToken(t *testing.T) {
	r := newRig(trustAnn)
	get := func(who authz.Principal) (*sdk.GetSessionTokenOutput, error) {
		return wire.Do[sdk.GetSessionTokenOutput](t.Context(), r.mux, wire.As{Principal: who, Region: "us-east-1"}, &sdk.GetSessionTokenInput{})
	}
	out, err := get(ann)
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := r.Session(t.Context(), *out.Credentials.AccessKeyId, *out.Credentials.SessionToken)
	if err != nil || p.ARN != ann.ARN || p.Type != authz.User || time.Until(*out.Credentials.Expiration) < 11*time.Hour {
		t.Errorf("session %+v until %v, %v", p, out.Credentials.Expiration, err)
	}
	_, err = get(p)
	refused(t, err, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	short, err := get(root)
	if err != nil || time.Until(*short.Credentials.Expiration) > time.Hour {
		t.Errorf("root's session lasts until %v, %v", short.Credentials.Expiration, err)
	}
}

func TestWireAssumeRoleGivesTheSession(t *testing.T) {
	r := newRig(`{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:events:us-east-1:111122223333:rule/b/r"}}}`)
	as, err := wire.AssumeRole(t.Context(), r.mux, "events", "arn:aws:events:us-east-1:111122223333:rule/b/r", roleARN, "rule", "us-east-1")
	if err != nil || as.Principal.RoleARN != roleARN || as.Principal.Type != authz.AssumedRole {
		t.Errorf("got %+v, %v", as, err)
	}
	_, err = wire.AssumeRole(t.Context(), r.mux, "events", "arn:aws:events:us-east-1:111122223333:rule/b/other", roleARN, "rule", "us-east-1")
	refused(t, err, "AccessDenied", "events.amazonaws.com is not authorized")
}

// TestOpenedTokensAreForgotten counts those that are kept: no more than so many,
// and none whose time was over when another came.
func TestOpenedTokensAreForgotten(t *testing.T) {
	var o opened
	now := time.Now()
	for i := range maxOpened + 10 {
		o.keep(fmt.Sprint(i), &token{Expires: now.Add(time.Minute)}, now)
	}
	if n := len(o.tokens); n > maxOpened {
		t.Errorf("%d tokens are kept", n)
	}
	o.keep("late", &token{Expires: now.Add(time.Hour)}, now.Add(time.Minute))
	if n := len(o.tokens); n != 1 || o.get("late") == nil {
		t.Errorf("%d tokens are kept beside those that have expired", n)
	}
}

func BenchmarkSession(b *testing.B) {
	r := newRig(trustAnn)
	c, err := r.issue(authz.Principal{Type: authz.AssumedRole, ARN: "a", RoleARN: roleARN, Account: account}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Session(b.Context(), *c.AccessKeyId, *c.SessionToken); err != nil {
			b.Fatal(err)
		}
	}
}
