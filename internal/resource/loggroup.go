package resource

import (
	"context"
	"strings"

	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"miniforge/internal/graph"
)

// logGroupAPI is what a LogGroup asks of CloudWatch Logs.
type logGroupAPI interface {
	CreateLogGroup(context.Context, *logs.CreateLogGroupInput, ...func(*logs.Options)) (*logs.CreateLogGroupOutput, error)
	DescribeLogGroups(context.Context, *logs.DescribeLogGroupsInput, ...func(*logs.Options)) (*logs.DescribeLogGroupsOutput, error)
	ListTagsForResource(context.Context, *logs.ListTagsForResourceInput, ...func(*logs.Options)) (*logs.ListTagsForResourceOutput, error)
	PutRetentionPolicy(context.Context, *logs.PutRetentionPolicyInput, ...func(*logs.Options)) (*logs.PutRetentionPolicyOutput, error)
	AssociateKmsKey(context.Context, *logs.AssociateKmsKeyInput, ...func(*logs.Options)) (*logs.AssociateKmsKeyOutput, error)
	DeleteLogGroup(context.Context, *logs.DeleteLogGroupInput, ...func(*logs.Options)) (*logs.DeleteLogGroupOutput, error)
}

var _ logGroupAPI = (*logs.Client)(nil)

// A LogGroup is a CloudWatch Logs group. It is made before the service that
// writes to it, whose role may only write streams: so no group reappears,
// untagged and unencrypted, after the stack is gone.
type LogGroup struct {
	Logs      logGroupAPI
	Owner     Owner
	Name      string
	ARN       string // without ":*"
	Key       *Key
	Retention int32 // days, one of the values that CloudWatch Logs knows
}

func (g *LogGroup) ID() string              { return "logs/" + g.Name }
func (g *LogGroup) Needs() []graph.Resource { return []graph.Resource{g.Key} }

func (g *LogGroup) Observe(ctx context.Context) (graph.Observation, error) {
	// Names are prefixes of one another ("x", "x-2"); the exact one comes
	// first, as groups are listed in order of name.
	out, err := g.Logs.DescribeLogGroups(ctx, &logs.DescribeLogGroupsInput{LogGroupNamePrefix: &g.Name})
	if err != nil {
		return graph.Observation{}, failed("describe log group", g.Name, err)
	}
	for _, found := range out.LogGroups {
		if deref(found.LogGroupName) != g.Name {
			continue
		}
		arn := g.ARN
		tags, err := g.Logs.ListTagsForResource(ctx, &logs.ListTagsForResourceInput{ResourceArn: &arn})
		if err != nil {
			return graph.Observation{}, failed("read tags of log group", g.Name, err)
		}
		var d drift
		d.add("KmsKeyId", orUnknown(g.Key.ARN()), deref(found.KmsKeyId))
		d.int("RetentionInDays", int64(g.Retention), int64(deref(found.RetentionInDays)))
		return graph.Observation{Exists: true, Owned: g.Owner.owns(tags.Tags), Drift: d}, nil
	}
	return graph.Observation{}, nil
}

func (g *LogGroup) Create(ctx context.Context) error {
	key := g.Key.ARN()
	_, err := g.Logs.CreateLogGroup(ctx, &logs.CreateLogGroupInput{LogGroupName: &g.Name, KmsKeyId: &key, Tags: g.Owner.Tags()})
	if isInvalidKey(err) {
		return notYet("create log group", g.Name, err)
	}
	if err != nil {
		return failed("create log group", g.Name, err)
	}
	return g.retain(ctx)
}

// isInvalidKey recognises the error of a key whose policy has not spread yet.
// The policy is ours and names this group, so waiting cures it.
func isInvalidKey(err error) bool {
	return hasCode(err, "InvalidParameterException") && strings.Contains(err.Error(), "KMS key")
}

func (g *LogGroup) retain(ctx context.Context) error {
	_, err := g.Logs.PutRetentionPolicy(ctx, &logs.PutRetentionPolicyInput{LogGroupName: &g.Name, RetentionInDays: &g.Retention})
	return failed("set retention of log group", g.Name, err)
}

func (g *LogGroup) Update(ctx context.Context, diffs []graph.Diff) error {
	if drifted(diffs, "KmsKeyId") {
		key := g.Key.ARN()
		_, err := g.Logs.AssociateKmsKey(ctx, &logs.AssociateKmsKeyInput{LogGroupName: &g.Name, KmsKeyId: &key})
		if err != nil {
			return failed("encrypt log group", g.Name, err)
		}
	}
	if drifted(diffs, "RetentionInDays") {
		return g.retain(ctx)
	}
	return nil
}

func (g *LogGroup) Delete(ctx context.Context) error {
	_, err := g.Logs.DeleteLogGroup(ctx, &logs.DeleteLogGroupInput{LogGroupName: &g.Name})
	return deleted("log group "+g.Name, err)
}
