package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	buildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	tagtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"

	"miniforge/internal/graph"
	"miniforge/internal/resource"
)

// Leftovers is what a sweep found of a stack.
type Leftovers struct {
	// Left exists and should not, after down.
	Left []Leftover `json:"left"`
	// Kept is what AWS keeps on purpose and removes by itself.
	Kept []Kept `json:"kept"`
	// Unproven names the ways of looking that this endpoint does not offer.
	Unproven []string `json:"unproven"`
}

// A Leftover is one thing that still exists.
type Leftover struct {
	ID    string `json:"id"`    // ARN, or the resource's ID in the graph
	Found string `json:"found"` // how it was found
	// Declared: it is one of the stack's own resources, which Destroy can delete.
	Declared bool `json:"-"`
}

// A Kept is one thing that AWS keeps for a while.
type Kept struct {
	ARN    string    `json:"arn"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until,omitzero"`
}

// Clean reports whether nothing is left.
func (l Leftovers) Clean() bool { return len(l.Left) == 0 }

// Sweep looks for everything of the stack in three independent ways, and
// deletes nothing: by the exact name of each declared resource, by tag across
// all services, and by the path of roles and the project of builds, which the
// tag index does not know.
//
// The tag index lags and also lists what was tagged once: an entry for a name
// that its own service says is gone is not counted. An error means that the
// sweep could not look, not that something is left.
func (s *Stack) Sweep(ctx context.Context) (Leftovers, error) {
	l := Leftovers{Left: []Leftover{}, Kept: []Kept{}, Unproven: []string{}}
	g, err := s.Graph()
	if err != nil {
		return l, err
	}
	steps, err := g.Inspect(ctx, graph.Options{})
	if err != nil {
		return l, fmt.Errorf("sweep by name: %w", err)
	}
	for _, step := range steps {
		if step.Action != graph.Create && step.Action != graph.Foreign {
			l.Left = append(l.Left, Leftover{ID: step.ID, Found: "by name", Declared: true})
		}
	}
	if err := s.sweepKeys(ctx, &l); err != nil {
		return l, err
	}
	if err := s.sweepRoles(ctx, &l); err != nil {
		return l, err
	}
	if !s.opts.WithoutPipeline {
		s.sweepBuilds(ctx, &l)
	}
	s.sweepTags(ctx, &l)
	if ctx.Err() != nil { // cut short, which proves nothing
		return l, fmt.Errorf("sweep by tag: %w", context.Cause(ctx))
	}
	return l, nil
}

// sweepBuilds lists builds that outlived their projects: they have no tags, and
// AWS keeps them for good. Not every endpoint has builds.
func (s *Stack) sweepBuilds(ctx context.Context, l *Leftovers) {
	for _, project := range []string{s.BuildProject(), s.DeployProject()} {
		pages := codebuild.NewListBuildsForProjectPaginator(s.Clients.CodeBuild, &codebuild.ListBuildsForProjectInput{ProjectName: &project})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if _, gone := errors.AsType[*buildtypes.ResourceNotFoundException](err); gone {
				break
			} else if err != nil {
				l.Unproven = append(l.Unproven, fmt.Sprintf("builds of project %s: %v", project, err))
				return
			}
			for _, id := range page.Ids {
				l.Left = append(l.Left, Leftover{ID: s.arn("codebuild", "build/"+id), Found: "by its project"})
			}
		}
	}
}

// sweepKeys lists the keys that are pending deletion, and those in use without
// the alias, of which the search by name sees one only.
func (s *Stack) sweepKeys(ctx context.Context, l *Leftovers) error {
	keys, err := s.key.Tagged(ctx)
	if err != nil {
		return fmt.Errorf("sweep keys: %w", err)
	}
	for _, k := range keys {
		arn := aws.ToString(k.Arn)
		if k.KeyState == kmstypes.KeyStatePendingDeletion {
			l.Kept = append(l.Kept, Kept{ARN: arn, Reason: "KMS key pending deletion; up revives it until then", Until: aws.ToTime(k.DeletionDate)})
		} else if arn != s.key.ARN() {
			l.Left = append(l.Left, Leftover{ID: arn, Found: "by tag of the key"})
		}
	}
	return nil
}

func (s *Stack) sweepRoles(ctx context.Context, l *Leftovers) error {
	declared := s.Roles()
	pages := iam.NewListRolesPaginator(s.Clients.IAM, &iam.ListRolesInput{PathPrefix: aws.String(s.RolePath())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("sweep roles below %s: %w", s.RolePath(), err)
		}
		for _, r := range page.Roles {
			if !slices.Contains(declared, aws.ToString(r.RoleName)) { // those were found by name
				l.Left = append(l.Left, Leftover{ID: aws.ToString(r.Arn), Found: "by path of the role"})
			}
		}
	}
	return nil
}

// sweepTags asks the index of tags. Some endpoints have none: then the sweep
// is by name only, and says so.
func (s *Stack) sweepTags(ctx context.Context, l *Leftovers) {
	pages := tagging.NewGetResourcesPaginator(s.Clients.Tagging, &tagging.GetResourcesInput{
		TagFilters: []tagtypes.TagFilter{{Key: aws.String(resource.StackTag), Values: []string{s.Name}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			l.Unproven = append(l.Unproven, fmt.Sprintf("search by tag: %v", err))
			return
		}
		for _, found := range page.ResourceTagMappingList {
			if arn := aws.ToString(found.ResourceARN); !s.lookedAt(arn) {
				l.Left = append(l.Left, Leftover{ID: arn, Found: "by tag"})
			}
		}
	}
}

// lookedAt reports whether a resource was searched for in its own service,
// whose answer counts more than the index.
func (s *Stack) lookedAt(arn string) bool {
	known := []string{
		s.TableARN(s.Orders()), s.TableARN(s.Inventory()), s.QueueARN(s.Notifications()), s.QueueARN(s.DeadLetters()),
		s.TopicARN(), s.BusARN(), s.RuleARN(), s.StateMachineARN(), s.BucketARN(),
		s.RepositoryARN(), s.ApplicationARN(), s.PipelineARN(), s.ProjectARN(s.BuildProject()), s.ProjectARN(s.DeployProject()),
	}
	for _, f := range FunctionNames() {
		known = append(known, s.FunctionARN(f), s.DeploymentGroupARN(f))
	}
	for _, r := range s.Roles() {
		known = append(known, s.RoleARN(r))
	}
	for _, g := range s.LogGroups() {
		known = append(known, s.LogGroupARN(g))
	}
	if slices.Contains(known, strings.TrimSuffix(arn, ":*")) {
		return true
	}
	// Ids that the cloud chose: all keys, mappings and APIs of the stack were
	// listed by their services.
	for _, kind := range []string{":kms:", ":event-source-mapping:", ":apigateway:"} {
		if strings.Contains(arn, kind) {
			return true
		}
	}
	return false
}
