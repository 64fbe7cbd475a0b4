package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"miniforge/internal/bench"
	"miniforge/internal/doctor"
	"miniforge/internal/resource"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

// maxSkew is by how much clocks may differ before AWS refuses signatures.
const maxSkew = 5 * time.Minute

func (a *app) doctorCommand() *cobra.Command {
	canary := true
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Tell whether the endpoint is fit: reachable, clock, credentials, IAM, operations",
		Long: `Tells what the endpoint is and whether this system can work there. The operations that it needs are
called about things that do not exist, so nothing is changed; those that make something are not asked
about. Whether IAM is enforced is found out by a canary: a user without rights, who is made and removed
again. Exit code 5 means that something is missing.`,
		Args: args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) { return a.doctor(ctx, canary) })
	c.Flags().BoolVar(&canary, "canary", true, "find out by a user of its own whether IAM is enforced")
	return c
}

func (a *app) doctor(ctx context.Context, canary bool) (Result, error) {
	t, s, err := a.stack(ctx, target.StartKnown)
	if err != nil {
		return nil, err
	}
	p := a.show()
	p.Title("Examining "+t.Name(), 0)
	r := doctorResult{Place: placeOf(t)}
	r.add("endpoint", func() (string, error) { return a.examineEndpoint(ctx, t) })
	r.add("credentials", func() (string, error) {
		who, err := sts.NewFromConfig(t.Config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return "", err
		}
		return aws.ToString(who.Arn), nil
	})
	r.add("signatures", func() (string, error) {
		enforced, err := doctor.Signatures(ctx, t.Config)
		return enforcement(enforced, "a wrong signature is refused", "a wrong signature is taken: what verify proves of security is not proven here"), err
	})
	if canary {
		r.add("IAM", func() (string, error) {
			user := a.name + "-doctor-" + strings.ToLower(rand.Text()[:8])
			enforced, err := doctor.Policies(ctx, t.Config, user, resource.Owner{Stack: a.name}.Tags())
			return enforcement(enforced, "policies are enforced", "policies are not enforced: what verify proves of permissions is not proven here"), err
		})
	}
	r.add("operations", func() (string, error) {
		text, all, err := examineOperations(ctx, neededOperations(s.Clients), &r)
		if err == nil && !all {
			err = errors.New(text)
		}
		return text, err
	})
	r.add("pipeline", func() (string, error) {
		text, all, err := examineOperations(ctx, deliveryOperations(s.Clients), &r)
		if !all {
			text += ": use up --without pipeline"
		}
		return text, err
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !r.fit() {
		return r, fail(exitChecks, "", errors.New("the endpoint is not fit for this system"))
	}
	return r, nil
}

func enforcement(enforced bool, yes, no string) string {
	if enforced {
		return yes
	}
	return no
}

func (a *app) examineEndpoint(ctx context.Context, t *target.Target) (string, error) {
	url := t.Endpoint
	if url == "" {
		url = "https://sts." + t.Region + ".amazonaws.com"
	}
	id, err := doctor.Identify(ctx, t.HTTP, url)
	if err != nil {
		return "", err
	}
	if t.Kind == target.AWS {
		id.Name = "AWS"
	}
	text := fmt.Sprintf("%s answers in %s", id.Name, bench.Millis(id.Took))
	if id.Server != "" {
		text += ", server " + id.Server
	}
	if id.Skew.Abs() > maxSkew {
		return "", fmt.Errorf("%s; its clock differs by %s: set yours, or signatures are refused", text, id.Skew)
	}
	return fmt.Sprintf("%s, clock %+d s", text, int(id.Skew.Seconds())), nil
}

// examineOperations asks about operations, keeps those that are not served, and
// tells whether all are.
func examineOperations(ctx context.Context, operations map[string][]doctor.Operation, r *doctorResult) (text string, all bool, err error) {
	answers, err := doctor.Ask(ctx, operations)
	if err != nil {
		return "", false, err
	}
	var missing, unclear []doctor.Answer
	for _, x := range answers {
		switch x.State {
		case doctor.Missing:
			missing = append(missing, x)
		case doctor.Unclear:
			unclear = append(unclear, x)
		}
	}
	r.Missing, r.Unclear = append(r.Missing, missing...), append(r.Unclear, unclear...)
	text = fmt.Sprintf("%d of %d needed operations are served", len(answers)-len(missing)-len(unclear), len(answers))
	if len(unclear) > 0 {
		text += "; without a clear answer: " + names(unclear)
	}
	if len(missing) > 0 {
		text += "; missing: " + names(missing)
	}
	return text, len(missing) == 0, nil
}

func names(answers []doctor.Answer) string {
	var list []string
	for _, x := range answers {
		list = append(list, x.Service+"."+x.Operation)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// A finding is what was found out about one thing.
type finding struct {
	About  string `json:"about"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

type doctorResult struct {
	Place
	Findings []finding       `json:"findings"`
	Missing  []doctor.Answer `json:"missing_operations,omitempty"`
	Unclear  []doctor.Answer `json:"unclear_operations,omitempty"`
}

func (r *doctorResult) add(about string, examine func() (string, error)) {
	detail, err := examine()
	if err != nil {
		detail = err.Error()
	}
	r.Findings = append(r.Findings, finding{about, err == nil, detail})
}

func (r doctorResult) fit() bool {
	return !slices.ContainsFunc(r.Findings, func(f finding) bool { return !f.OK })
}

// Text implements Result.
func (r doctorResult) Text(p *ui.Page) {
	rows := make([][]string, len(r.Findings))
	for i, f := range r.Findings {
		verdict := "ok"
		if !f.OK {
			verdict = "bad"
		}
		rows[i] = []string{f.About, verdict, ui.Clean(f.Detail)}
	}
	p.Table([]string{"ABOUT", "VERDICT", "FOUND"}, rows)
}
