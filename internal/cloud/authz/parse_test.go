package authz

import (
	"errors"
	"strings"
	"testing"
)

func TestDocumentsThatAreRefused(t *testing.T) {
	doc := func(statement string) string { return `{"Version":"2012-10-17","Statement":[` + statement + `]}` }
	for _, c := range []struct {
		name, document string
		kind           Kind
		want           string
	}{
		{"no JSON", `{"Version":`, IdentityPolicy, "This policy contains invalid Json"},
		{"empty", ``, IdentityPolicy, "This policy contains invalid Json"},
		{"not an object", `[]`, IdentityPolicy, "Syntax errors in policy."},
		{"text after the end", doc(allowAll) + "x", IdentityPolicy, "This policy contains invalid Json"},
		{"member twice", `{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}`, IdentityPolicy, "Syntax errors in policy."},
		{"unknown version", `{"Version":"2020-01-01","Statement":[]}`, IdentityPolicy, "valid version string"},
		{"unknown member", doc(`{"Effect":"Allow","Action":"*","Resource":"*","Colour":"red"}`), IdentityPolicy, "Syntax errors in policy."},
		{"no statements", `{"Version":"2012-10-17"}`, IdentityPolicy, "Syntax errors in policy."},
		{"no effect", doc(`{"Action":"*","Resource":"*"}`), IdentityPolicy, "Missing required field Effect"},
		{"odd effect", doc(`{"Effect":"allow","Action":"*","Resource":"*"}`), IdentityPolicy, "Syntax errors in policy."},
		{"no action", doc(`{"Effect":"Allow","Resource":"*"}`), IdentityPolicy, "Missing required field Action"},
		{"action and not", doc(`{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}`), IdentityPolicy, "Syntax errors in policy."},
		{"number as action", doc(`{"Effect":"Allow","Action":5,"Resource":"*"}`), IdentityPolicy, "Syntax errors in policy."},
		{"list in a list", doc(`{"Effect":"Allow","Action":[["*"]],"Resource":"*"}`), IdentityPolicy, "Syntax errors in policy."},
		{"no service in the action", doc(`{"Effect":"Allow","Action":"Get","Resource":"*"}`), IdentityPolicy, "must be prefaced by a vendor"},
		{"two colons in the action", doc(`{"Effect":"Allow","Action":"s3:Get:x","Resource":"*"}`), IdentityPolicy, "only one colon"},
		{"odd service", doc(`{"Effect":"Allow","Action":"s 3:Get","Resource":"*"}`), IdentityPolicy, "Vendor s 3 is not valid"},
		{"no resource", doc(`{"Effect":"Allow","Action":"*"}`), IdentityPolicy, "must contain resources"},
		{"resource that is no ARN", doc(`{"Effect":"Allow","Action":"*","Resource":"queue"}`), IdentityPolicy, `Resource queue must be in ARN format or "*".`},
		{"unknown partition", doc(`{"Effect":"Allow","Action":"*","Resource":"arn:xyz:sqs:a:b:c"}`), IdentityPolicy, `Partition "xyz" is not valid`},
		{"principal in an identity policy", doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`), IdentityPolicy, "should not specify a principal"},
		{"same Sid twice", doc(`{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}`), IdentityPolicy, "must be unique"},
		{"old version", `{"Version":"2008-10-17","Statement":[` + allowAll + `]}`, IdentityPolicy, "2012-10-17 or greater"},
		{"unknown operator", doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringSounds":{"k":"v"}}}`), IdentityPolicy, "Invalid Condition type : StringSounds."},
		{"NullIfExists", doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NullIfExists":{"k":"true"}}}`), IdentityPolicy, "Invalid Condition type"},
		{"condition without keys", doc(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":"true"}}`), IdentityPolicy, "Syntax errors in policy."},
		{"resource in a trust policy", doc(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}`), TrustPolicy, "Has prohibited field Resource"},
		{"trust without a principal", doc(`{"Effect":"Allow","Action":"sts:AssumeRole"}`), TrustPolicy, "Missing required field Principal"},
		{"trust for other actions", doc(`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}`), TrustPolicy, "may only specify STS AssumeRole actions"},
		{"wildcard in a principal", doc(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/*"},"Action":"sts:AssumeRole"}`), TrustPolicy, `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/*"`},
		{"service that is none", doc(`{"Effect":"Allow","Principal":{"Service":"lambda"},"Action":"sts:AssumeRole"}`), TrustPolicy, `Invalid principal in policy: "SERVICE":"lambda"`},
		{"unknown kind of principal", doc(`{"Effect":"Allow","Principal":{"Robot":"x"},"Action":"sts:AssumeRole"}`), TrustPolicy, "Syntax errors in policy."},
		{"resource policy without a principal", doc(allowSend), ResourcePolicy, "Missing required field Principal"},
		{"nested too deeply", strings.Repeat(`{"a":`, 50) + `1` + strings.Repeat(`}`, 50), IdentityPolicy, "Syntax errors in policy."},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse(c.document)
			if err == nil {
				err = p.Check(c.kind)
			}
			e, ok := errors.AsType[*ParseError](err)
			if !ok || !strings.Contains(e.Reason, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestDocumentsThatAreTaken(t *testing.T) {
	for name, c := range map[string]struct {
		kind     Kind
		document string
	}{
		"one statement, not in a list": {IdentityPolicy, `{"Version":"2012-10-17","Statement":` + allowAll + `}`},
		"incomplete ARN":               {IdentityPolicy, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::*","arn:aws:s3:*"]}}`},
		"variable as resource":         {IdentityPolicy, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"${aws:PrincipalTag/bucket}"}}`},
		"all kinds of principals": {ResourcePolicy, `{"Id":"x","Statement":{"Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:root","arn:aws:sts::111122223333:assumed-role/a/b"],` +
			`"Service":["sns.amazonaws.com","logs.us-east-1.amazonaws.com"],"Federated":"cognito-identity.amazonaws.com","CanonicalUser":"abc"},"Action":"*","Resource":"*"}}`},
		"trust in a service": {TrustPolicy, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}}}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := mustParse(t, c.document).Check(c.kind); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	_, err := Parse("{\n  \"Version\": \"2012-10-17\",\n  oops\n}")
	e, ok := errors.AsType[*ParseError](err)
	if !ok || e.Line != 3 {
		t.Errorf("got %v, want line 3", err)
	}
}
