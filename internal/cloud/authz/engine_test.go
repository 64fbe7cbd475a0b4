package authz

import (
	"context"
	"errors"
	"testing"
)

// engineOf is an Engine with one identity policy for everybody and one
// resource policy for everything.
func engineOf(identity, resource string) *Engine {
	doc := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	return &Engine{
		Account:  account,
		Identity: func(context.Context, Principal) ([]string, string, error) { return []string{doc(identity)}, "", nil },
		PrincipalTags: func(context.Context, Principal) (map[string]string, error) {
			return map[string]string{"team": "forge"}, nil
		},
		Resource: func(context.Context, string) (string, error) {
			if resource == "" {
				return "", nil
			}
			return doc(resource), nil
		},
		ResourceTags: func(context.Context, string) (map[string]string, error) {
			return map[string]string{"miniforge:stack": "demo"}, nil
		},
	}
}

func allowed(t *testing.T, e *Engine, p Principal, a Access) bool {
	t.Helper()
	err := e.Authorize(t.Context(), p, Common{Region: "us-east-1", SourceIP: "127.0.0.1", UserAgent: "test"}, []Access{a})
	if denied, ok := errors.AsType[*DeniedError](err); err != nil && !ok {
		t.Fatal(err)
	} else if ok && denied.Action != a.Action {
		t.Errorf("denied %s instead of %s", denied.Action, a.Action)
	}
	return err == nil
}

func TestGlobalKeys(t *testing.T) {
	viaDynamoDB := session.On("dynamodb")
	for _, c := range []struct {
		name, condition string
		who             Principal
		want            bool
	}{
		{"PrincipalArn of a session is its role", `"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/app/intake"}`, session, true},
		{"PrincipalAccount", `"StringEquals":{"aws:PrincipalAccount":"111122223333"}`, session, true},
		{"PrincipalType of a session", `"StringEquals":{"aws:PrincipalType":"AssumedRole"}`, session, true},
		{"PrincipalType of a user", `"StringEquals":{"aws:PrincipalType":"User"}`, user, true},
		{"userid", `"StringLike":{"aws:userid":"AROAAAAAAAAAAAAAAAAAA:*"}`, session, true},
		{"username of a user", `"StringEquals":{"aws:username":"ann"}`, user, true},
		{"a session has no username", `"Null":{"aws:username":"true"}`, session, true},
		{"loopback counts as secure", `"Bool":{"aws:SecureTransport":"true"}`, user, true},
		{"RequestedRegion", `"StringEquals":{"aws:RequestedRegion":["us-east-1","eu-central-1"]}`, user, true},
		{"another region", `"StringEquals":{"aws:RequestedRegion":"eu-west-1"}`, user, false},
		{"CurrentTime", `"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}`, user, true},
		{"EpochTime", `"NumericGreaterThan":{"aws:EpochTime":"1500000000"}`, user, true},
		{"SourceIp", `"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}`, user, true},
		{"no SourceIp by way of a service", `"Null":{"aws:SourceIp":"true"}`, viaDynamoDB, true},
		{"ViaAWSService", `"Bool":{"aws:ViaAWSService":"true"}`, viaDynamoDB, true},
		{"not ViaAWSService", `"Bool":{"aws:ViaAWSService":"false"}`, session, true},
		{"CalledVia", `"ForAnyValue:StringEquals":{"aws:CalledVia":"dynamodb.amazonaws.com"}`, viaDynamoDB, true},
		{"PrincipalIsAWSService", `"Bool":{"aws:PrincipalIsAWSService":"false"}`, user, true},
		{"PrincipalTag", `"StringEquals":{"aws:PrincipalTag/Team":"forge"}`, user, true},
		{"ResourceTag", `"StringEquals":{"aws:ResourceTag/miniforge:stack":"demo"}`, user, true},
		{"ResourceTag of another stack", `"StringEquals":{"aws:ResourceTag/miniforge:stack":"other"}`, user, false},
		{"ResourceAccount is the caller's", `"StringEquals":{"aws:ResourceAccount":"${aws:PrincipalAccount}"}`, user, true},
		{"key of the service", `"StringEquals":{"TEST:Key":"v"}`, user, true},
		{"a user's call has no SourceArn", `"Null":{"aws:SourceArn":"true"}`, user, true},
		{"UserAgent", `"StringLike":{"aws:UserAgent":"te*"}`, user, true},
		{"unknown key is absent", `"Null":{"aws:Unheard":"true"}`, user, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := engineOf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{`+c.condition+`}}`, "")
			if got := allowed(t, e, c.who, Access{Action: "sqs:SendMessage", Resource: queue, Context: map[string][]string{"test:Key": {"v"}}}); got != c.want {
				t.Errorf("allowed %t, want %t", got, c.want)
			}
		})
	}
}

func TestSessionTagsWinOverTagsOfTheRole(t *testing.T) {
	e := engineOf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"guest"}}}`, "")
	tagged := session
	tagged.Tags = map[string]string{"team": "guest"}
	if !allowed(t, e, tagged, Access{Action: "sqs:SendMessage", Resource: queue}) {
		t.Error("the session's own tag does not count")
	}
}

func TestServiceIsJudgedByItsSource(t *testing.T) {
	e := engineOf(allowAll, `{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"`+queue+`",
		"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:us-east-1:111122223333:t"},"StringEquals":{"aws:SourceAccount":"111122223333"}}}`)
	a := Access{Action: "sqs:SendMessage", Resource: queue}
	if !allowed(t, e, topic, a) {
		t.Error("the topic that the queue names is refused")
	}
	if allowed(t, e, ServicePrincipal("sns", "arn:aws:sns:us-east-1:111122223333:other", account), a) {
		t.Error("another topic is let in: confused deputy")
	}
	if allowed(t, e, ServicePrincipal("sns", "arn:aws:sns:us-east-1:111122223333:t", "444455556666"), a) {
		t.Error("a topic of another account is let in")
	}
}

func TestKeyPolicyDecidesAboutKeys(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:111122223333:key/1"
	a := Access{Action: "kms:Decrypt", Resource: key, Context: map[string][]string{"kms:ViaService": {"dynamodb.us-east-1.amazonaws.com"}}}
	if allowed(t, engineOf(allowAll, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"kms:*","Resource":"*"}`), user, a) {
		t.Error("an identity policy opened a key whose policy does not know the caller")
	}
	via := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"dynamodb.us-east-1.amazonaws.com"}}}`
	if !allowed(t, engineOf(allowAll, via), user, a) {
		t.Error("refused by way of the right service")
	}
	a.Context = nil
	if allowed(t, engineOf(allowAll, via), user, a) {
		t.Error("let in without the service")
	}
}

func TestGrantsAreAskedLast(t *testing.T) {
	asked := 0
	e := engineOf(`{"Effect":"Deny","Action":"kms:Encrypt","Resource":"*"}`, "")
	e.Grants = func(_ context.Context, p Principal, a Access) (bool, error) {
		asked++
		return a.Action == "kms:Decrypt", nil
	}
	const key = "arn:aws:kms:us-east-1:111122223333:key/1"
	if !allowed(t, e, session, Access{Action: "kms:Decrypt", Resource: key}) || asked != 1 {
		t.Errorf("a granted access is refused; asked %d times", asked)
	}
	if allowed(t, e, session, Access{Action: "kms:Encrypt", Resource: key}) || asked != 1 {
		t.Errorf("an explicit deny was overruled by a grant; asked %d times", asked)
	}
	if allowed(t, e, session, Access{Action: "kms:DescribeKey", Resource: key}) {
		t.Error("what nobody granted is allowed")
	}
}

func TestTrustPolicyIsAboutAssumingOnly(t *testing.T) {
	e := engineOf(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":"sts:AssumeRole"}`)
	if !allowed(t, e, user, Access{Action: "sts:AssumeRole", Resource: session.RoleARN}) {
		t.Error("the role trusts the user, yet it may not be assumed")
	}
	if allowed(t, e, user, Access{Action: "iam:DeleteRole", Resource: session.RoleARN}) {
		t.Error("trust lets the user manage the role")
	}
	e = engineOf(allowAll, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"sts:AssumeRole"}`)
	if allowed(t, e, user, Access{Action: "sts:AssumeRole", Resource: session.RoleARN}) {
		t.Error("a role can be assumed without its trust")
	}
}

func TestEveryAccessIsJudged(t *testing.T) {
	e := engineOf(allowSend, "")
	err := e.Authorize(t.Context(), user, Common{}, []Access{{Action: "sqs:SendMessage", Resource: queue}, {Action: "sqs:DeleteQueue", Resource: queue}})
	if d, ok := errors.AsType[*DeniedError](err); !ok || d.Action != "sqs:DeleteQueue" {
		t.Errorf("got %v", err)
	}
	if err := e.Authorize(t.Context(), user, Common{}, nil); err != nil {
		t.Errorf("an operation for everybody is refused: %v", err)
	}
}

func TestWhatCannotBeJudgedIsNotAllowed(t *testing.T) {
	broken := errors.New("disk")
	for name, e := range map[string]*Engine{
		"identity": {Account: account, Identity: func(context.Context, Principal) ([]string, string, error) { return nil, "", broken }},
		"resource": {Account: account, Resource: func(context.Context, string) (string, error) { return "", broken }},
		"tags": func() *Engine {
			e := engineOf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:ResourceTag/x":"y"}}}`, "")
			e.ResourceTags = func(context.Context, string) (map[string]string, error) { return nil, broken }
			return e
		}(),
	} {
		err := e.Authorize(t.Context(), user, Common{}, []Access{{Action: "sqs:SendMessage", Resource: queue}})
		if !errors.Is(err, broken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := engineOf("nonsense", "").Authorize(t.Context(), user, Common{}, []Access{{Action: "sqs:SendMessage", Resource: queue}}); err == nil {
		t.Error("a policy that cannot be read allows")
	}
}

func BenchmarkAuthorize(b *testing.B) {
	e := engineOf(`{"Effect":"Allow","Action":["logs:CreateLogStream","logs:PutLogEvents"],"Resource":"arn:aws:logs:*:*:*"},`+
		`{"Effect":"Allow","Action":["sqs:SendMessage","sqs:GetQueueAttributes"],"Resource":"`+queue+`","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}}`,
		`{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}},`+
			`{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:111122223333:*"}}}`)
	a := []Access{{Action: "sqs:SendMessage", Resource: queue}}
	for name, who := range map[string]Principal{"session": session, "service": topic} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Authorize(b.Context(), who, Common{Region: "us-east-1"}, a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
