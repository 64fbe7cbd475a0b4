package cli

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"miniforge/internal/cloud"
	"miniforge/internal/doctor"
	"miniforge/internal/stack"
)

// TestNeededOperationsExist: a name that the SDK does not know would be asked
// about in vain.
func TestNeededOperationsExist(t *testing.T) {
	clients := clientsByService(stack.NewClients(aws.Config{Region: "us-east-1"}))
	for service, operations := range neededOperations {
		for _, name := range operations {
			if !reflect.ValueOf(clients[service]).MethodByName(name).IsValid() {
				t.Errorf("%s has no %s", service, name)
			}
		}
	}
}

// lacking is an endpoint that does not serve some operations of DynamoDB.
type lacking struct{ http.RoundTripper }

func (l lacking) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateContinuousBackups") {
		return &http.Response{StatusCode: http.StatusNotImplemented, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
	}
	return l.RoundTripper.RoundTrip(r)
}

// TestDoctorAsksWithoutChangingAnything asks the embedded cloud, whole and with
// a gap, about all that is needed there.
func TestDoctorAsksWithoutChangingAnything(t *testing.T) {
	c, err := cloud.New(t.Context(), cloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	cfg := aws.Config{
		Region: c.Region, BaseEndpoint: aws.String("http://cloud.test"), HTTPClient: &http.Client{Transport: lacking{c.Transport()}},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""), Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
	var core []string
	needed := map[string][]string{}
	for service, operations := range neededOperations {
		if !strings.HasPrefix(service, "code") {
			needed[service] = operations
			core = append(core, operations...)
		}
	}
	answers, err := doctor.Ask(t.Context(), clientsByService(stack.NewClients(cfg)), needed)
	if err != nil || len(answers) != len(core) {
		t.Fatalf("%d answers about %d operations, %v", len(answers), len(core), err)
	}
	for _, a := range answers {
		want := doctor.Served
		if a.Operation == "UpdateContinuousBackups" {
			want = doctor.Missing
		}
		if a.State != want {
			t.Errorf("%s.%s is %s: %s", a.Service, a.Operation, a.State, a.Detail)
		}
	}
	for _, enforced := range []func() (bool, error){
		func() (bool, error) { return doctor.Signatures(t.Context(), cfg) },
		func() (bool, error) { return doctor.Policies(t.Context(), cfg, "canary", map[string]string{"x": "y"}) },
	} {
		if ok, err := enforced(); err != nil || !ok {
			t.Errorf("the embedded cloud enforces: %v, %v", ok, err)
		}
	}
	if _, err := doctor.Ask(t.Context(), clientsByService(stack.NewClients(cfg)), map[string][]string{"sqs": {"Nonsense"}}); err == nil {
		t.Error("an operation that no client has is no error")
	}
	if !slices.Contains(neededOperations["dynamodb"], "UpdateContinuousBackups") {
		t.Error("the gap is none")
	}
}
