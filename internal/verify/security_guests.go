package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"miniforge/internal/resource"
	"miniforge/internal/stack"
)

// guests are the throwaway principals of one run. Each role can be assumed by
// who knows the external id of this run, and nobody else knows it.
type guests struct {
	stack *stack.Stack
	run   string // names them
	id    string // the external id
	o     Options

	mu    sync.Mutex
	roles map[string][]string // names of inline policies by role
	made  int                 // roles so far
	user  string              // who assumes, where the caller is root
	host  *aws.Config         // credentials that may assume
}

// config is how the stack's clients reach the endpoint, and as whom.
func (g *guests) config() aws.Config {
	o := g.stack.Clients.IAM.Options()
	return aws.Config{
		Region: g.stack.Region, BaseEndpoint: o.BaseEndpoint, HTTPClient: o.HTTPClient, Credentials: o.Credentials,
		Retryer: func() aws.Retryer { return o.Retryer },
	}
}

// stays is how long a throwaway role can be in use: its sessions end then.
const stays = 15 * time.Minute

// isGuest tells whether a role is one that a verification, be it this one or
// another at the same time, has made and will remove. One that was left for
// longer is a stranger like any other.
func (g *guests) isGuest(ctx context.Context, role string) (bool, error) {
	if !strings.HasPrefix(role, g.stack.Probe()) {
		return false, nil
	}
	out, err := g.stack.Clients.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &role})
	if code(err) == "NoSuchEntity" {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read role %s: %w", role, err)
	}
	return time.Since(aws.ToTime(out.Role.CreateDate)) < stays, nil
}

func (g *guests) tags() []iamtypes.Tag {
	return []iamtypes.Tag{{Key: aws.String(resource.StackTag), Value: &g.stack.Name}}
}

// assume makes a role with these policies, by name, and assumes it. A new role
// is unknown to parts of AWS for some seconds.
func (g *guests) assume(ctx context.Context, purpose string, policies map[string]string) (aws.Config, error) {
	cfg := g.config()
	host, err := g.hosted(ctx)
	if err != nil {
		return cfg, err
	}
	g.mu.Lock()
	g.made++
	name := fmt.Sprintf("%s%s-%02d", g.stack.Probe(), g.run, g.made)
	g.roles[name] = nil // before it exists: nothing must escape the tidying
	for p := range policies {
		g.roles[name] = append(g.roles[name], p)
	}
	g.mu.Unlock()
	trust := resource.Policy{{
		Effect: "Allow", Principal: map[string]string{"AWS": fmt.Sprintf("arn:%s:iam::%s:root", g.stack.Partition(), g.stack.Account)},
		Action: []string{"sts:AssumeRole"}, Condition: resource.Conditions{"StringEquals": {"sts:ExternalId": {g.id}}},
	}}
	role, err := g.stack.Clients.IAM.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: &name, Path: aws.String(g.stack.RolePath()), AssumeRolePolicyDocument: aws.String(trust.String()),
		Description: aws.String("Throwaway role of miniforge verify: " + purpose), Tags: g.tags(),
	})
	if err != nil {
		return cfg, fmt.Errorf("make a throwaway role: %w", err)
	}
	for p, document := range policies {
		_, err := g.stack.Clients.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: &p, PolicyDocument: &document})
		if err != nil {
			return cfg, fmt.Errorf("give throwaway role its policy %s: %w", p, err)
		}
	}
	var out *sts.AssumeRoleOutput
	err = g.patience()(ctx, func(ctx context.Context) (err error) {
		out, err = sts.NewFromConfig(host).AssumeRole(ctx, &sts.AssumeRoleInput{
			RoleArn: role.Role.Arn, RoleSessionName: aws.String("verify"), ExternalId: &g.id, DurationSeconds: aws.Int32(int32(stays.Seconds())),
		})
		return err
	})
	if err != nil {
		return cfg, fmt.Errorf("assume a throwaway role: %w", err)
	}
	c := out.Credentials
	cfg.Credentials = credentials.NewStaticCredentialsProvider(aws.ToString(c.AccessKeyId), aws.ToString(c.SecretAccessKey), aws.ToString(c.SessionToken))
	return cfg, nil
}

// propagation is how long IAM may take until all of AWS knows what it was told.
const propagation = 20 * time.Second

// patience returns a function that repeats another while the endpoint refuses
// it, until what IAM was told before is known everywhere: however many calls
// are refused, they wait no longer than that together.
func (g *guests) patience() func(context.Context, func(context.Context) error) error {
	deadline := time.Now().Add(min(propagation, g.o.Patience))
	return func(ctx context.Context, f func(context.Context) error) error {
		for {
			err := f(ctx)
			if code(err) == "" || time.Now().After(deadline) {
				return err
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(time.Second):
			}
		}
	}
}

// hosted returns a configuration that may assume roles: the caller's, but for
// root, whom AWS lets assume none. For it a user is made that may do only that.
func (g *guests) hosted(ctx context.Context) (aws.Config, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	cfg := g.config()
	if g.host != nil {
		return *g.host, nil
	}
	me, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return cfg, fmt.Errorf("ask who the caller is: %w", err)
	}
	if !strings.HasSuffix(aws.ToString(me.Arn), ":root") {
		g.host = &cfg
		return cfg, nil
	}
	users, name := g.stack.Clients.IAM, g.stack.Probe()+g.run
	g.user = name // before it exists, as with roles
	if _, err := users.CreateUser(ctx, &iam.CreateUserInput{UserName: &name, Path: aws.String(g.stack.RolePath()), Tags: g.tags()}); err != nil && code(err) != "EntityAlreadyExists" {
		return cfg, fmt.Errorf("make a throwaway user: %w", err)
	}
	may := resource.Policy{{Effect: "Allow", Action: []string{"sts:AssumeRole"}, Resource: []string{g.stack.RoleARN(name + "-*")}}}
	if _, err := users.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String(hostPolicy), PolicyDocument: aws.String(may.String())}); err != nil {
		return cfg, fmt.Errorf("let the throwaway user assume roles: %w", err)
	}
	key, err := users.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		return cfg, fmt.Errorf("make an access key for the throwaway user: %w", err)
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider(aws.ToString(key.AccessKey.AccessKeyId), aws.ToString(key.AccessKey.SecretAccessKey), "")
	g.host = &cfg
	return cfg, nil
}

const hostPolicy = "assume"

// close removes them all.
func (g *guests) close(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, errs := g.stack.Clients.IAM, []error(nil)
	gone := func(what string, err error) {
		if err != nil && code(err) != "NoSuchEntity" {
			errs = append(errs, fmt.Errorf("tidy up %s: %w", what, err))
		}
	}
	for role, policies := range g.roles {
		before := len(errs)
		for _, p := range policies {
			_, err := c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &p})
			gone("policy of role "+role, err)
		}
		_, err := c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &role})
		gone("role "+role, err)
		if len(errs) == before {
			delete(g.roles, role)
		}
	}
	if g.user != "" {
		before := len(errs)
		// Not by what is remembered: of a call that was cut short, the answer
		// was not seen.
		keys, err := c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &g.user})
		gone("access keys of user "+g.user, err)
		if err == nil {
			for _, k := range keys.AccessKeyMetadata {
				_, err := c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &g.user, AccessKeyId: k.AccessKeyId})
				gone("access key of user "+g.user, err)
			}
		}
		_, err = c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &g.user, PolicyName: aws.String(hostPolicy)})
		gone("policy of user "+g.user, err)
		_, err = c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &g.user})
		gone("user "+g.user, err)
		if len(errs) == before {
			g.user, g.host = "", nil
		}
	}
	return errors.Join(errs...)
}

// code is what the endpoint called an error; "" if it was not the endpoint's.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// denied tells whether an endpoint refused a call for lack of permission. S3
// has no body for a HEAD, and so no better code than Forbidden.
func denied(err error) bool { return deniedBy(code(err)) }

func deniedBy(code string) bool {
	return slices.Contains([]string{"AccessDenied", "AccessDeniedException", "AuthorizationError", "Forbidden", "KMS.AccessDeniedException", "KMSAccessDeniedException"}, code)
}

// stripped sends requests without what proves who sends them.
type stripped struct{ aws.HTTPClient }

// Do implements [aws.HTTPClient].
func (s stripped) Do(r *http.Request) (*http.Response, error) {
	r.Header.Del("Authorization")
	r.Header.Del("X-Amz-Security-Token")
	return s.HTTPClient.Do(r)
}
