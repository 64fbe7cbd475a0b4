package access

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	taggingtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"

	"miniforge/internal/resource"
	"miniforge/internal/stack"
)

// A Kind is what policies hang on.
type Kind string

// The kinds of holders.
const (
	Role        Kind = "role"
	Key         Kind = "key"
	Queue       Kind = "queue"
	Topic       Kind = "topic"
	Bucket      Kind = "bucket"
	Function    Kind = "function"
	Bus         Kind = "bus"
	LogDelivery Kind = "log delivery" // the account's policies that let services write to log groups
)

// A Holder has policies: a role, a key, a queue. Name is that of the resource;
// of a key its alias, of log delivery the stack's.
type Holder struct {
	Kind Kind
	Name string
}

func (h Holder) String() string { return string(h.Kind) + " " + h.Name }

// A Policy is one policy document of a holder.
type Policy struct {
	Holder
	// Part tells the policies of one holder apart: "trust" and the names of
	// inline policies and the ARNs of attached ones for a role; alias or version
	// for a function; the name of the account's policy for log delivery.
	Part     string
	Document string
}

// String names the policy as messages do.
func (p Policy) String() string {
	switch {
	case p.Part == TrustPart:
		return "trust of " + p.Holder.String()
	case p.Kind == Function && p.Part != "":
		return p.Holder.String() + ":" + p.Part
	}
	return p.Holder.String()
}

// TrustPart is the Part of a role's trust policy, and GrantsPart that of the
// inline policy that a role of the stack has.
const (
	TrustPart  = "trust"
	GrantsPart = resource.InlinePolicy
)

// Declared returns the policies that the stack declares. It asks the cloud for
// what ids they name: that of the key and that of the API.
func Declared(ctx context.Context, s *stack.Stack) ([]Policy, error) {
	g, err := s.Graph()
	if err != nil {
		return nil, err
	}
	resources := g.Resources()
	for _, r := range resources {
		switch r := r.(type) {
		case *resource.Key, *resource.HTTPAPI:
			if _, err := r.Observe(ctx); err != nil {
				return nil, fmt.Errorf("look at %s: %w", r.ID(), err)
			}
		}
	}
	var all []Policy
	add := func(kind Kind, name, part string, p resource.Policy) {
		all = append(all, Policy{Holder: Holder{kind, name}, Part: part, Document: p.String()})
	}
	for _, r := range resources {
		switch r := r.(type) {
		case *resource.Role:
			add(Role, r.Name, TrustPart, r.Trust)
			add(Role, r.Name, GrantsPart, r.Grants())
		case *resource.Key:
			add(Key, r.Alias, "", r.Policy)
		case *resource.Queue:
			add(Queue, r.Name, "", r.Policy)
		case *resource.Topic:
			add(Topic, r.Name, "", r.Policy)
		case *resource.Bucket:
			add(Bucket, r.Name, "", r.Policy)
		case *resource.Permission:
			add(Function, r.Alias.Function.Name, r.Alias.Name, r.Policy())
		}
	}
	return all, nil
}

// Holders lists, as the cloud tells it, everything of the stack that may have
// policies: its roles by their path, the rest by the stack's tag.
func Holders(ctx context.Context, s *stack.Stack) ([]Holder, error) {
	holders := []Holder{{LogDelivery, s.Name}}
	path := s.RolePath()
	roles := iam.NewListRolesPaginator(s.Clients.IAM, &iam.ListRolesInput{PathPrefix: &path})
	for roles.HasMorePages() {
		page, err := roles.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list roles: %w", err)
		}
		for _, r := range page.Roles {
			holders = append(holders, Holder{Role, aws.ToString(r.RoleName)})
		}
	}
	tagged := resourcegroupstaggingapi.NewGetResourcesPaginator(s.Clients.Tagging, &resourcegroupstaggingapi.GetResourcesInput{
		TagFilters: []taggingtypes.TagFilter{{Key: aws.String(resource.StackTag), Values: []string{s.Name}}},
	})
	for tagged.HasMorePages() {
		page, err := tagged.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list resources by tag: %w", err)
		}
		for _, r := range page.ResourceTagMappingList {
			if h, ok := holderOf(aws.ToString(r.ResourceARN)); ok {
				holders = append(holders, h)
			}
		}
	}
	for i, h := range holders {
		if h.Kind != Key {
			continue
		}
		name, err := aliasOf(ctx, s, h.Name)
		if err != nil {
			return nil, err
		}
		holders[i].Name = name
	}
	slices.SortFunc(holders, func(a, b Holder) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(holders), nil
}

// holderOf tells what an ARN is, if it is of a kind that has policies.
func holderOf(arn string) (Holder, bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) < 6 {
		return Holder{}, false
	}
	name := p[5]
	after := func(kind Kind, prefix string) (Holder, bool) {
		rest, ok := strings.CutPrefix(name, prefix)
		return Holder{kind, rest}, ok
	}
	switch p[2] {
	case "kms":
		return after(Key, "key/")
	case "sqs":
		return Holder{Queue, name}, true
	case "sns":
		return Holder{Topic, name}, true
	case "s3":
		return Holder{Bucket, name}, true
	case "lambda":
		return after(Function, "function:")
	case "events":
		return after(Bus, "event-bus/")
	}
	return Holder{}, false
}
