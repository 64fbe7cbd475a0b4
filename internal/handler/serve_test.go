package handler

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"miniforge/internal/handler/whoami"
)

// issuer is STS.
type issuer struct{ err error }

func (i issuer) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Arn: new("arn:aws:sts::123456789012:assumed-role/f/f")}, i.err
}

func TestFunctionsTellWhoTheyAre(t *testing.T) {
	work := lambda.NewHandler(func(_ context.Context, in map[string]string) (string, error) { return in["miniforge"] + " done", nil })
	for _, c := range []struct {
		name, payload, want string
		err                 error
	}{
		{name: "asked", payload: whoami.Question, want: `{"arn":"arn:aws:sts::123456789012:assumed-role/f/f"}`},
		{name: "work", payload: `{"miniforge":"x"}`, want: `"x done"`},
		{name: "almost", payload: whoami.Question + " ", want: `"who am I done"`},
		{name: "STS fails", payload: whoami.Question, err: errors.New("throttled")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := answering{work, issuer{c.err}}.Invoke(t.Context(), []byte(c.payload))
			if string(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}
