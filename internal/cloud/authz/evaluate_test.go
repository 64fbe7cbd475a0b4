package authz

import (
	"strings"
	"testing"
)

func mustParse(t testing.TB, document string) *Policy {
	t.Helper()
	p, err := Parse(document)
	if err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	return p
}

// policy wraps statements in a document of the current version.
func policy(t testing.TB, statements ...string) *Policy {
	t.Helper()
	return mustParse(t, `{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`)
}

const (
	allowAll  = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	denyAll   = `{"Sid":"No","Effect":"Deny","Action":"*","Resource":"*"}`
	allowSend = `{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"*"}`
	account   = "111122223333"
	queue     = "arn:aws:sqs:us-east-1:111122223333:q"
)

var (
	user    = Principal{Type: User, ARN: "arn:aws:iam::111122223333:user/ann", ID: "AIDAAAAAAAAAAAAAAAAAA", Account: account}
	session = Principal{
		Type: AssumedRole, ARN: "arn:aws:sts::111122223333:assumed-role/intake/s1", RoleARN: "arn:aws:iam::111122223333:role/app/intake",
		ID: "AROAAAAAAAAAAAAAAAAAA:s1", Account: account,
	}
	root    = Principal{Type: Root, ARN: "arn:aws:iam::111122223333:root", ID: account, Account: account}
	topic   = ServicePrincipal("sns", "arn:aws:sns:us-east-1:111122223333:t", account)
	foreign = Principal{Type: User, ARN: "arn:aws:iam::444455556666:user/eve", ID: "AIDAEEEEEEEEEEEEEEEEE", Account: "444455556666"}
)

// to is a statement of a queue's policy that lets somebody in.
func to(who string) string {
	return `{"Effect":"Allow","Principal":` + who + `,"Action":"sqs:*","Resource":"*"}`
}

// Parts of the reasons that denials give.
const (
	none         = "because no identity-based policy"
	noResource   = "because no resource-based policy"
	noBoundary   = "because no permissions boundary"
	noSession    = "because no session policy"
	denyIdentity = "explicit deny in an identity-based policy"
	denyResource = "explicit deny in a resource-based policy"
	denyBoundary = "explicit deny in a permissions boundary"
	denySession  = "explicit deny in a session policy"
)

// evaluationLogic are the cases of AWS's description of the evaluation logic.
var evaluationLogic = []struct {
	name     string
	who      Principal
	identity string
	boundary string
	session  string
	resource string
	guarded  bool
	granted  bool
	want     string // "" is allowed
}{
	{name: "nothing allows", who: user, want: none},
	{name: "identity allows", who: user, identity: allowSend},
	{name: "explicit deny wins over allow", who: user, identity: allowAll + "," + denyAll, want: denyIdentity},
	{name: "resource policy that names the user is enough", who: user, resource: to(`{"AWS":"arn:aws:iam::111122223333:user/ann"}`)},
	{name: "resource policy that names another user is not", who: user, resource: to(`{"AWS":"arn:aws:iam::111122223333:user/bob"}`), want: none},
	{name: "resource policy for everybody is enough", who: user, resource: to(`"*"`)},
	{name: "resource policy that names the account leaves it to identity policies", who: user, resource: to(`{"AWS":"111122223333"}`), want: none},
	{name: "both sides allow", who: user, identity: allowSend, resource: to(`{"AWS":"arn:aws:iam::111122223333:root"}`)},
	{name: "resource policy denies what identity allows", who: user, identity: allowAll,
		resource: `{"Effect":"Deny","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}`, want: denyResource},
	{name: "boundary does not allow", who: user, identity: allowAll, boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, want: noBoundary},
	{name: "boundary alone allows nothing", who: user, boundary: allowAll, want: none},
	{name: "boundary and identity allow", who: user, identity: allowAll, boundary: allowSend},
	{name: "boundary denies", who: user, identity: allowAll, boundary: allowAll + "," + denyAll, want: denyBoundary},
	{name: "boundary does not bind what a resource gives to the user by name", who: user,
		boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, resource: to(`{"AWS":"arn:aws:iam::111122223333:user/ann"}`)},
	{name: "boundary binds what a resource gives to the role", who: session,
		boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, resource: to(`{"AWS":"arn:aws:iam::111122223333:role/app/intake"}`), want: noBoundary},
	{name: "session policy narrows", who: session, identity: allowAll, session: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, want: noSession},
	{name: "session policy denies", who: session, identity: allowAll, session: denyAll, want: denySession},
	{name: "session policy allows too", who: session, identity: allowAll, session: allowSend},
	{name: "session policy narrows what a resource gives to the role", who: session, session: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`,
		resource: to(`{"AWS":"arn:aws:iam::111122223333:role/app/intake"}`), want: noSession},
	{name: "but not what it gives to the session", who: session, session: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`,
		resource: to(`{"AWS":"arn:aws:sts::111122223333:assumed-role/intake/s1"}`)},
	{name: "another session of the role is somebody else", who: session, resource: to(`{"AWS":"arn:aws:sts::111122223333:assumed-role/intake/s2"}`), want: none},
	{name: "unique id of the role", who: session, resource: to(`{"AWS":"AROAAAAAAAAAAAAAAAAAA"}`)},
	{name: "root may do everything", who: root},
	{name: "root is bound by a resource's deny", who: root, resource: `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`, want: denyResource},
	{name: "service needs the resource's policy", who: topic, want: noResource},
	{name: "service that the resource names", who: topic, resource: to(`{"Service":"sns.amazonaws.com"}`)},
	{name: "another service is named", who: topic, resource: to(`{"Service":"events.amazonaws.com"}`), want: noResource},
	{name: "service under the wrong source", who: topic, want: noResource,
		resource: `{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:*","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:us-east-1:111122223333:other"}}}`},
	{name: "service under the right source", who: topic,
		resource: `{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:*","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:us-east-1:111122223333:t"}}}`},
	{name: "account does not let services in", who: topic, resource: to(`{"AWS":"111122223333"}`), want: noResource},
	{name: "anonymous needs a star", who: Principal{Type: Anonymous}, resource: to(`"*"`)},
	{name: "anonymous without", who: Principal{Type: Anonymous}, resource: to(`{"AWS":"111122223333"}`), want: noResource},
	{name: "other account needs both sides: own missing", who: foreign, resource: to(`{"AWS":"444455556666"}`), want: none},
	{name: "other account needs both sides: resource missing", who: foreign, identity: allowAll, want: noResource},
	{name: "other account with both", who: foreign, identity: allowAll, resource: to(`{"AWS":"444455556666"}`)},
	{name: "key policy is needed", who: user, identity: allowAll, guarded: true, want: noResource},
	{name: "key policy delegates to the account", who: user, identity: allowAll, guarded: true, resource: to(`{"AWS":"111122223333"}`)},
	{name: "key policy delegates, identity does not allow", who: user, guarded: true, resource: to(`{"AWS":"111122223333"}`), want: none},
	{name: "key policy names the user", who: user, guarded: true, resource: to(`{"AWS":"arn:aws:iam::111122223333:user/ann"}`)},
	{name: "key policy keeps root out", who: root, guarded: true, resource: to(`{"AWS":"arn:aws:iam::111122223333:user/ann"}`), want: noResource},
	{name: "key policy lets root in", who: root, guarded: true, resource: to(`{"AWS":"arn:aws:iam::111122223333:root"}`)},
	{name: "grant", who: session, guarded: true, granted: true},
	{name: "deny wins over a grant", who: session, guarded: true, granted: true, identity: denyAll, want: denyIdentity},
	{name: "boundary binds a grant", who: session, guarded: true, granted: true, boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, want: noBoundary},
	{name: "wildcard gives to the session itself: neither boundary nor session policy narrows", who: session, resource: to(`"*"`),
		boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, session: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`},
	{name: "but their denies do", who: session, resource: to(`{"AWS":"*"}`), session: allowAll + "," + denyAll, want: denySession},
	{name: "NotPrincipal spares the user it names with the account", who: user, identity: allowAll,
		resource: `{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/ann","111122223333"]},"Action":"*","Resource":"*"}`},
	{name: "NotPrincipal without the account spares no user", who: user, identity: allowAll, want: denyResource,
		resource: `{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/ann"]},"Action":"*","Resource":"*"}`},
	{name: "NotPrincipal spares no user with a boundary", who: user, identity: allowAll, boundary: allowAll, want: denyResource,
		resource: `{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/ann","111122223333"]},"Action":"*","Resource":"*"}`},
	{name: "NotPrincipal spares a session named with role and account", who: session, identity: allowAll,
		resource: `{"Effect":"Deny","NotPrincipal":{"AWS":["` + session.ARN + `","` + session.RoleARN + `","111122223333"]},"Action":"*","Resource":"*"}`},
	{name: "NotPrincipal that names the role but not the session", who: session, identity: allowAll, want: denyResource,
		resource: `{"Effect":"Deny","NotPrincipal":{"AWS":["` + session.RoleARN + `","111122223333"]},"Action":"*","Resource":"*"}`},
	{name: "NotPrincipal spares a service", who: topic, want: noResource,
		resource: `{"Effect":"Deny","NotPrincipal":{"Service":"sns.amazonaws.com"},"Action":"*","Resource":"*"}`},
	{name: "allow with NotPrincipal lets in who is not named", who: user,
		resource: `{"Effect":"Allow","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"*","Resource":"*"}`},
	{name: "allow with NotPrincipal keeps out who is named in any way", who: user, want: none,
		resource: `{"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"Action":"*","Resource":"*"}`},
	{name: "federated principals are nobody here", who: user, resource: to(`{"Federated":"accounts.google.com"}`), want: none},
	{name: "NotPrincipal hits the others", who: session, identity: allowAll, want: denyResource,
		resource: `{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/ann"]},"Action":"*","Resource":"*"}`},
	{name: "deny for the account hits its users", who: user, identity: allowAll, want: denyResource,
		resource: `{"Effect":"Deny","Principal":{"AWS":"111122223333"},"Action":"*","Resource":"*"}`},
}

func TestEvaluationLogic(t *testing.T) {
	for _, c := range evaluationLogic {
		t.Run(c.name, func(t *testing.T) {
			r := Request{Principal: &c.who, Action: "sqs:SendMessage", Resource: queue, Guarded: c.guarded, Granted: c.granted, Foreign: c.who.Account != account && c.who.Account != ""}
			r.Context = Keys{"aws:sourcearn": {c.who.Source}}
			if c.identity != "" {
				r.Identity = []*Policy{policy(t, c.identity)}
			}
			if c.boundary != "" {
				r.Boundary = policy(t, c.boundary)
			}
			if c.session != "" {
				r.Session = []*Policy{policy(t, c.session)}
			}
			if c.resource != "" {
				r.Policy = policy(t, c.resource)
			}
			d := Evaluate(&r)
			got := (&DeniedError{Principal: c.who, Action: r.Action, Resource: r.Resource, Decision: d}).ErrorMessage()
			if d.Allowed != (c.want == "") || !d.Allowed && !strings.Contains(got, c.want) {
				t.Errorf("allowed %t, %q; want %q", d.Allowed, got, c.want)
			}
		})
	}
}

func TestActionsAndResources(t *testing.T) {
	const bucket = "arn:aws:s3:::data/ann/file.txt"
	for _, c := range []struct {
		name, statement, action, resource string
		want                              bool
	}{
		{"exact", `"Action":"s3:GetObject","Resource":"` + bucket + `"`, "s3:GetObject", bucket, true},
		{"actions in any case", `"Action":"S3:getobject","Resource":"*"`, "s3:GetObject", bucket, true},
		{"resources in their own case only", `"Action":"*","Resource":"arn:aws:s3:::DATA/*"`, "s3:GetObject", bucket, false},
		{"star in the action", `"Action":"s3:Get*","Resource":"*"`, "s3:GetObjectVersion", bucket, true},
		{"star does not match another service", `"Action":"s3:*","Resource":"*"`, "sqs:SendMessage", queue, false},
		{"question mark", `"Action":"s3:?etObject","Resource":"*"`, "s3:GetObject", bucket, true},
		{"question mark needs a character", `"Action":"s3:GetObject?","Resource":"*"`, "s3:GetObject", bucket, false},
		{"several actions", `"Action":["sqs:*","s3:GetObject"],"Resource":"*"`, "s3:GetObject", bucket, true},
		{"NotAction excludes", `"NotAction":"s3:*","Resource":"*"`, "s3:GetObject", bucket, false},
		{"NotAction includes the rest", `"NotAction":"iam:*","Resource":"*"`, "s3:GetObject", bucket, true},
		{"NotResource excludes", `"Action":"*","NotResource":"arn:aws:s3:::data/*"`, "s3:GetObject", bucket, false},
		{"NotResource includes the rest", `"Action":"*","NotResource":"arn:aws:s3:::other/*"`, "s3:GetObject", bucket, true},
		{"stars in the middle", `"Action":"*","Resource":"arn:aws:s3:::d*a/*/f*.txt"`, "s3:GetObject", bucket, true},
		{"stars that do not fit", `"Action":"*","Resource":"arn:aws:s3:::d*a/*/g*.txt"`, "s3:GetObject", bucket, false},
		{"user name variable", `"Action":"*","Resource":"arn:aws:s3:::data/${aws:username}/*"`, "s3:GetObject", bucket, true},
		{"missing variable matches nothing", `"Action":"*","Resource":"arn:aws:s3:::data/${aws:nothing}*"`, "s3:GetObject", bucket, false},
		{"default of a variable", `"Action":"*","Resource":"arn:aws:s3:::data/${aws:nothing, 'ann'}/*"`, "s3:GetObject", bucket, true},
		{"escaped star is a star", `"Action":"*","Resource":"arn:aws:s3:::data/${*}"`, "s3:GetObject", "arn:aws:s3:::data/*", true},
		{"escaped star is no wildcard", `"Action":"*","Resource":"arn:aws:s3:::data/${*}"`, "s3:GetObject", bucket, false},
		{"value of a variable is no pattern", `"Action":"*","Resource":"arn:aws:s3:::data/${test:star}"`, "s3:GetObject", bucket, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Evaluate(&Request{
				Principal: &user, Action: c.action, Resource: c.resource, Context: Keys{"aws:username": {"ann"}, "test:star": {"*"}},
				Identity: []*Policy{policy(t, `{"Effect":"Allow",`+c.statement+`}`)},
			})
			if d.Allowed != c.want {
				t.Errorf("allowed %t, want %t", d.Allowed, c.want)
			}
		})
	}
}

func TestVariablesNeedTheCurrentVersion(t *testing.T) {
	p := mustParse(t, `{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username}"}}`)
	r := Request{Principal: &user, Action: "s3:ListBucket", Resource: "arn:aws:s3:::ann", Context: Keys{"aws:username": {"ann"}}, Identity: []*Policy{p}}
	if Evaluate(&r).Allowed {
		t.Error("a policy of 2008 has variables")
	}
	if r.Resource = "arn:aws:s3:::${aws:username}"; !Evaluate(&r).Allowed {
		t.Error("in a policy of 2008 the text of a variable stands for itself")
	}
}

func TestDeciderIsNamed(t *testing.T) {
	d := Evaluate(&Request{
		Principal: &user, Action: "sqs:SendMessage", Resource: queue, Context: Keys{},
		Identity: []*Policy{policy(t, allowAll), policy(t, allowSend, denyAll)},
	})
	if want := (Decision{Explicit: true, Source: IdentityBased, Policy: 1, Sid: "No"}); d != want {
		t.Errorf("got %+v, want %+v", d, want)
	}
}

func TestMatchingStatementsHaveTheirPlaces(t *testing.T) {
	const doc = `{"Version":"2012-10-17","Statement":[` + allowSend + `,` + denyAll + `,{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	got := mustParse(t, doc).Matching(&Request{Principal: &user, Action: "sqs:SendMessage", Resource: queue, Context: Keys{}}, false)
	if len(got) != 2 || doc[got[0].Start:got[0].End] != allowSend || doc[got[1].Start:got[1].End] != denyAll {
		t.Errorf("got %+v", got)
	}
}

func TestDenialNamesEverything(t *testing.T) {
	for _, c := range []struct {
		err        DeniedError
		code, want string
	}{
		{DeniedError{Principal: session, Action: "sqs:SendMessage", Resource: queue, Decision: Decision{Source: IdentityBased}}, "AccessDeniedException",
			"User: arn:aws:sts::111122223333:assumed-role/intake/s1 is not authorized to perform: sqs:sendmessage on resource: arn:aws:sqs:us-east-1:111122223333:q because no identity-based policy allows the sqs:sendmessage action"},
		{DeniedError{Principal: user, Action: "sns:Publish", Resource: "arn:aws:sns:us-east-1:111122223333:t", Decision: Decision{Source: ResourceBased, Explicit: true}}, "AuthorizationError",
			"User: arn:aws:iam::111122223333:user/ann is not authorized to perform: SNS:Publish on resource: arn:aws:sns:us-east-1:111122223333:t with an explicit deny in a resource-based policy"},
		{DeniedError{Principal: user, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Decision: Decision{Source: SessionBased}}, "AccessDenied",
			`User: arn:aws:iam::111122223333:user/ann is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::b/k" because no session policy allows the s3:GetObject action`},
		{DeniedError{Principal: user, Action: "sqs:ListQueues", Resource: "*", Decision: Decision{Source: IdentityBased}}, "AccessDeniedException",
			"User: arn:aws:iam::111122223333:user/ann is not authorized to perform: sqs:listqueues on resource: * because no identity-based policy allows the sqs:listqueues action"},
		{DeniedError{Principal: user, Action: "s3:ListAllMyBuckets", Resource: "*", Decision: Decision{Source: IdentityBased}}, "AccessDenied",
			"User: arn:aws:iam::111122223333:user/ann is not authorized to perform: s3:ListAllMyBuckets because no identity-based policy allows the s3:ListAllMyBuckets action"},
		{DeniedError{Principal: topic, Action: "sts:AssumeRole", Resource: session.RoleARN}, "AccessDenied",
			"User: sns.amazonaws.com is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/app/intake"},
	} {
		if got := c.err.ErrorMessage(); got != c.want || c.err.ErrorCode() != c.code {
			t.Errorf("%s: %s\nwant %s: %s", c.err.ErrorCode(), got, c.code, c.want)
		}
	}
}
