package resource

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/graph"
)

// machineAPI is what a StateMachine asks of Step Functions.
type machineAPI interface {
	DescribeStateMachine(context.Context, *sfn.DescribeStateMachineInput, ...func(*sfn.Options)) (*sfn.DescribeStateMachineOutput, error)
	ListTagsForResource(context.Context, *sfn.ListTagsForResourceInput, ...func(*sfn.Options)) (*sfn.ListTagsForResourceOutput, error)
	CreateStateMachine(context.Context, *sfn.CreateStateMachineInput, ...func(*sfn.Options)) (*sfn.CreateStateMachineOutput, error)
	UpdateStateMachine(context.Context, *sfn.UpdateStateMachineInput, ...func(*sfn.Options)) (*sfn.UpdateStateMachineOutput, error)
	DeleteStateMachine(context.Context, *sfn.DeleteStateMachineInput, ...func(*sfn.Options)) (*sfn.DeleteStateMachineOutput, error)
	ListExecutions(context.Context, *sfn.ListExecutionsInput, ...func(*sfn.Options)) (*sfn.ListExecutionsOutput, error)
	StopExecution(context.Context, *sfn.StopExecutionInput, ...func(*sfn.Options)) (*sfn.StopExecutionOutput, error)
}

var _ machineAPI = (*sfn.Client)(nil)

// A StateMachine is a standard workflow that logs all events with their data
// to a log group.
type StateMachine struct {
	SFN      machineAPI
	Owner    Owner
	Name     string
	ARN      string
	Role     *Role
	LogGroup *LogGroup
	Calls    []*Alias         // functions that the definition names
	Uses     []graph.Resource // what else it names
	// Definition is called once everything that it names exists.
	Definition func() (string, error)
}

func (m *StateMachine) ID() string { return "states/" + m.Name }

func (m *StateMachine) Needs() []graph.Resource {
	needs := []graph.Resource{m.Role, m.LogGroup}
	for _, a := range m.Calls {
		needs = append(needs, a)
	}
	return append(needs, m.Uses...)
}

func (m *StateMachine) Observe(ctx context.Context) (graph.Observation, error) {
	want, err := m.Definition()
	if err != nil {
		return graph.Observation{}, fmt.Errorf("define state machine %s: %w", m.Name, err)
	}
	var got *sfn.DescribeStateMachineOutput
	var tags map[string]string
	err = together(ctx, func(ctx context.Context) (err error) {
		got, err = m.SFN.DescribeStateMachine(ctx, &sfn.DescribeStateMachineInput{StateMachineArn: &m.ARN})
		return err
	}, func(ctx context.Context) error {
		out, err := m.SFN.ListTagsForResource(ctx, &sfn.ListTagsForResourceInput{ResourceArn: &m.ARN})
		if err == nil {
			tags = tagMap(out.Tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
		}
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read state machine", m.Name, err)
	}
	var d drift
	d.add("Status", string(types.StateMachineStatusActive), string(got.Status))
	d.json("Definition", want, deref(got.Definition))
	d.add("RoleArn", m.Role.ARN, deref(got.RoleArn))
	d.replace("Type", string(types.StateMachineTypeStandard), string(got.Type))
	d.maps("Logging.", m.loggingFields(m.logging()), m.loggingFields(got.LoggingConfiguration))
	return graph.Observation{Exists: true, Owned: m.Owner.owns(tags), Drift: d}, nil
}

func (m *StateMachine) logging() *types.LoggingConfiguration {
	group := m.LogGroup.ARN + ":*" // Step Functions wants the form with the suffix
	return &types.LoggingConfiguration{
		// Input and output of states hold who ordered what: the history has them
		// for who may read it; the log needs only to tell what happened.
		Level: types.LogLevelAll, IncludeExecutionData: false,
		Destinations: []types.LogDestination{{CloudWatchLogsLogGroup: &types.CloudWatchLogsLogGroup{LogGroupArn: &group}}},
	}
}

func (m *StateMachine) loggingFields(c *types.LoggingConfiguration) map[string]string {
	if c == nil {
		return nil
	}
	fields := map[string]string{"Level": string(c.Level), "IncludeExecutionData": fmt.Sprint(c.IncludeExecutionData)}
	if len(c.Destinations) == 1 && c.Destinations[0].CloudWatchLogsLogGroup != nil {
		fields["Destination"] = deref(c.Destinations[0].CloudWatchLogsLogGroup.LogGroupArn)
	}
	return fields
}

func (m *StateMachine) Create(ctx context.Context) error {
	definition, err := m.Definition()
	if err != nil {
		return fmt.Errorf("define state machine %s: %w", m.Name, err)
	}
	_, err = m.SFN.CreateStateMachine(ctx, &sfn.CreateStateMachineInput{
		Name: &m.Name, Definition: &definition, RoleArn: &m.Role.ARN, Type: types.StateMachineTypeStandard,
		LoggingConfiguration: m.logging(),
		Tags:                 tagList(m.Owner.Tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }),
	})
	return failed("create state machine", m.Name, err)
}

func (m *StateMachine) Update(ctx context.Context, diffs []graph.Diff) error {
	if drifted(diffs, "Status") { // being deleted, by an earlier run: look again when it is gone
		return notYet("update state machine", m.Name, fmt.Errorf("it is %s", diffs[0].Got))
	}
	definition, err := m.Definition()
	if err != nil {
		return fmt.Errorf("define state machine %s: %w", m.Name, err)
	}
	_, err = m.SFN.UpdateStateMachine(ctx, &sfn.UpdateStateMachineInput{
		StateMachineArn: &m.ARN, Definition: &definition, RoleArn: &m.Role.ARN, LoggingConfiguration: m.logging(),
	})
	return failed("update state machine", m.Name, err)
}

// Delete stops what runs, as the machine lives on until its executions end.
func (m *StateMachine) Delete(ctx context.Context) error {
	if err := m.stopAll(ctx); err != nil && !gone(err) {
		return err
	}
	_, err := m.SFN.DeleteStateMachine(ctx, &sfn.DeleteStateMachineInput{StateMachineArn: &m.ARN})
	if err := deleted("state machine "+m.Name, err); err != nil {
		return err
	}
	return until(ctx, "deletion of state machine "+m.Name, func(ctx context.Context) (bool, error) {
		_, err := m.SFN.DescribeStateMachine(ctx, &sfn.DescribeStateMachineInput{StateMachineArn: &m.ARN})
		if gone(err) {
			return true, nil
		}
		return false, err
	})
}

func (m *StateMachine) stopAll(ctx context.Context) error {
	cause := "the stack is being removed"
	pages := sfn.NewListExecutionsPaginator(m.SFN, &sfn.ListExecutionsInput{StateMachineArn: &m.ARN, StatusFilter: types.ExecutionStatusRunning})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failed("list executions of", m.Name, err)
		}
		for _, e := range page.Executions {
			_, err := m.SFN.StopExecution(ctx, &sfn.StopExecutionInput{ExecutionArn: e.ExecutionArn, Cause: &cause})
			if err != nil && !hasCode(err, "ExecutionDoesNotExist") {
				return failed("stop execution", deref(e.ExecutionArn), err)
			}
		}
	}
	return nil
}
