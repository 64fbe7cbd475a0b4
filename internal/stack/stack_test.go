package stack

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"miniforge/internal/graph"
	"miniforge/internal/resource"
)

type noNetwork struct{ t *testing.T }

func (n noNetwork) Do(r *http.Request) (*http.Response, error) {
	n.t.Errorf("called %s", r.URL)
	return nil, context.Canceled
}

func declared(t *testing.T) (*Stack, []graph.Resource) {
	t.Helper()
	s, err := New(aws.Config{Region: "eu-west-1", HTTPClient: noNetwork{t}}, Options{Names: Names{Name: "shop", Account: "123456789012"}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return s, g.Resources()
}

// A resource that holds another one reads from it, so it must come after it:
// every field that is a resource must be among the needs.
func TestEveryReferenceIsANeed(t *testing.T) {
	_, resources := declared(t)
	references := 0
	for _, r := range resources {
		needs := r.Needs()
		for _, held := range heldBy(r) {
			references++
			if !slices.Contains(needs, held) {
				t.Errorf("%s holds %s, and does not need it", r.ID(), held.ID())
			}
		}
	}
	if references < 50 {
		t.Errorf("only %d references were seen: the test looks at the wrong fields", references)
	}
}

// heldBy returns the resources in the exported fields of a resource.
func heldBy(r graph.Resource) (held []graph.Resource) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		values := []reflect.Value{v.Field(i)}
		if f := v.Field(i); f.Kind() == reflect.Slice {
			values = nil
			for j := range f.Len() {
				values = append(values, f.Index(j))
			}
		}
		for _, f := range values {
			if !f.IsValid() || !f.CanInterface() || (f.Kind() == reflect.Pointer || f.Kind() == reflect.Interface) && f.IsNil() {
				continue
			}
			if other, ok := reflect.TypeAssert[graph.Resource](f); ok {
				held = append(held, other)
			}
		}
	}
	return held
}

func TestEveryNameBelongsToTheStack(t *testing.T) {
	s, resources := declared(t)
	for _, r := range resources {
		if !strings.Contains(r.ID(), s.Name+"-") {
			t.Errorf("%s does not carry the stack's name", r.ID())
		}
		owner := reflect.ValueOf(r).Elem().FieldByName("Owner")
		if owner.IsValid() && owner.Interface() != s.owner {
			t.Errorf("%s belongs to %v", r.ID(), owner.Interface())
		}
	}
}

// Least privilege: no wildcard action; no wildcard resource but for the log
// deliveries, which know none; the key only through services.
func TestRolesAreNarrow(t *testing.T) {
	_, resources := declared(t)
	roles := 0
	for _, r := range resources {
		role, ok := r.(*resource.Role)
		if !ok {
			continue
		}
		roles++
		for _, st := range role.Grants() {
			for _, a := range st.Action {
				service, op, _ := strings.Cut(a, ":")
				if strings.Contains(op, "*") && service != "kms" {
					t.Errorf("%s may %s", role.Name, a)
				}
				if service == "kms" && len(st.Condition["StringEquals"]["kms:ViaService"]) == 0 {
					t.Errorf("%s may use the key by itself", role.Name)
				}
				if slices.Contains(st.Resource, "*") && service != "logs" {
					t.Errorf("%s may %s on everything", role.Name, a)
				}
			}
		}
	}
	if roles != 10 {
		t.Errorf("%d roles, want 10", roles)
	}
}

func TestServicesAreNarrowedToTheirSource(t *testing.T) {
	n := Names{Name: "shop", Account: "123456789012", Region: "eu-west-1"}
	for name, p := range map[string]resource.Policy{
		"key": n.keyPolicy(), "notifications": n.notificationsPolicy(), "dead letters": n.deadLettersPolicy(), "topic": n.topicPolicy(), "bucket": n.bucketPolicy(),
	} {
		for _, st := range p {
			principal, _ := st.Principal.(map[string]string)
			if principal["Service"] != "" && len(st.Condition) == 0 {
				t.Errorf("%s: %s may act for anybody", name, principal["Service"])
			}
			if st.Principal == "*" && st.Effect != "Deny" {
				t.Errorf("%s is open to the world: %s", name, st.Sid)
			}
		}
		if i := slices.IndexFunc(p, func(st resource.Statement) bool { return st.Sid == "DenyWithoutTLS" }); i < 0 && name != "key" {
			t.Errorf("%s accepts requests without TLS", name)
		}
	}
}

func TestNamesAreValidated(t *testing.T) {
	for name, ok := range map[string]bool{
		"miniforge": true, "a": true, "shop-2": true,
		"": false, "Shop": false, "2shop": false, "shop-": false, "a_b": false, "a-name-that-is-too-long": false,
	} {
		err := Names{Name: name, Account: "123456789012", Region: "eu-west-1"}.Validate()
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	longest := Names{Name: strings.Repeat("a", 20), Account: "123456789012", Region: "ap-southeast-2"}
	if n := len(longest.Bucket()); n > 63 {
		t.Errorf("bucket name of %d characters", n)
	}
	if n := len(longest.Function(InventoryChecker)); n > 64 {
		t.Errorf("function name of %d characters", n)
	}
}

func TestARNs(t *testing.T) {
	n := Names{Name: "shop", Account: "123456789012", Region: "eu-west-1"}
	for want, got := range map[string]string{
		"arn:aws:dynamodb:eu-west-1:123456789012:table/shop-orders":                n.TableARN(n.Orders()),
		"arn:aws:lambda:eu-west-1:123456789012:function:shop-order-intake:live":    n.AliasARN(OrderIntake),
		"arn:aws:events:eu-west-1:123456789012:rule/shop-orders/shop-order-placed": n.RuleARN(),
		"arn:aws:states:eu-west-1:123456789012:stateMachine:shop-fulfilment":       n.StateMachineARN(),
		"arn:aws:iam::123456789012:role/miniforge/shop/shop-workflow":              n.RoleARN(n.WorkflowRole()),
		"arn:aws:s3:::shop-artifacts-123456789012-eu-west-1":                       n.BucketARN(),
		"arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/shop-x":         n.LogGroupARN(n.FunctionLogGroup("x")),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if p := (Names{Region: "cn-north-1"}).Partition(); p != "aws-cn" {
		t.Errorf("partition %s", p)
	}
}
