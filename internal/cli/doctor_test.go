package cli

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"miniforge/internal/cloud"
	"miniforge/internal/doctor"
	"miniforge/internal/stack"
)

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
	needed, core := neededOperations(stack.NewClients(cfg)), 0
	for _, operations := range needed {
		core += len(operations)
	}
	answers, err := doctor.Ask(t.Context(), needed)
	if err != nil || len(answers) != core {
		t.Fatalf("%d answers about %d operations, %v", len(answers), core, err)
	}
	gap := false
	for _, a := range answers {
		want := doctor.Served
		if a.Operation == "UpdateContinuousBackups" {
			want, gap = doctor.Missing, true
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
	if !gap {
		t.Error("it was not asked about what is missing")
	}
}
