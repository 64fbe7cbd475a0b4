package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/spf13/cobra"

	"miniforge/internal/delivery"
	"miniforge/internal/graph"
	"miniforge/internal/order"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

func (a *app) statusCommand() *cobra.Command {
	var exitCode bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show every resource: present, absent, or drifted and how",
		Args:  args(cobra.NoArgs),
		RunE:  a.result(func(ctx context.Context, _ []string) (Result, error) { return a.status(ctx, exitCode) }),
	}
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 5 if anything is not as declared")
	return c
}

func (a *app) status(ctx context.Context, exitCode bool) (Result, error) {
	t, s, err := a.stack(ctx, target.StartKnown)
	if err != nil {
		return nil, err
	}
	r := statusResult{Stack: a.name, Place: placeOf(t), Resources: []resourceStatus{}, Aliases: map[string]string{}, Queues: map[string]queueDepth{}, Stock: []order.Stock{}}
	g, err := s.Graph()
	if err != nil {
		return nil, err
	}
	steps, inspectErr := g.Inspect(ctx, a.walk(g, looking))
	if steps, err = r.withoutAbsentDelivery(s, steps); err != nil {
		return nil, err
	}
	for _, step := range steps {
		r.add(step)
	}
	if r.Present > 0 && ctx.Err() == nil {
		err = lively(ctx, s, &r)
	}
	if exitCode && (r.Absent > 0 || r.Drifted > 0) {
		err = errors.Join(err, fail(exitChecks, "run: miniforge up", fmt.Errorf("%d resources are absent, %d drifted", r.Absent, r.Drifted)))
	}
	return r, errors.Join(inspectErr, err)
}

// lively reads what changes as orders pass: alias versions, queues, stock.
func lively(ctx context.Context, s *stack.Stack, r *statusResult) error {
	if api, apiErr := s.Endpoint(ctx); apiErr == nil {
		r.API = api
	} else if !errors.Is(apiErr, stack.ErrNoEndpoint) {
		return apiErr
	}
	for _, f := range stack.FunctionNames() {
		// What is absent or cannot be read is told by its resource.
		alias, err := s.Clients.Lambda.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: aws.String(s.Function(f)), Name: aws.String(stack.LiveAlias)})
		if err == nil {
			r.Aliases[f] = aws.ToString(alias.FunctionVersion)
		}
	}
	for _, q := range []string{s.Notifications(), s.DeadLetters()} {
		if depth, err := depthOf(ctx, s, q); err == nil {
			r.Queues[q] = depth
		}
	}
	if stock, err := readStock(ctx, s); err == nil {
		r.Stock = stock
	}
	if last, err := s.Delivery().Last(ctx); err == nil && len(r.Without) == 0 {
		r.Delivery = last
	}
	return ctx.Err()
}

// withoutAbsentDelivery leaves the pipeline's resources out if none of them is
// there, in a stack that is: then it was made without, and lacks nothing.
func (r *statusResult) withoutAbsentDelivery(s *stack.Stack, steps []graph.Step) ([]graph.Step, error) {
	ids, err := s.DeliveryIDs()
	if err != nil {
		return nil, err
	}
	rest, present := make([]graph.Step, 0, len(steps)), false
	for _, step := range steps {
		exists := step.Action != graph.Create || step.Err != nil
		switch {
		case !ids[step.ID]:
			rest = append(rest, step)
			present = present || exists
		case exists:
			return steps, nil
		}
	}
	if !present || len(rest) == len(steps) {
		return steps, nil
	}
	r.Without = []string{withoutPipeline}
	return rest, nil
}

func depthOf(ctx context.Context, s *stack.Stack, queue string) (queueDepth, error) {
	url, err := s.Clients.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(queue)})
	if err != nil {
		return queueDepth{}, fmt.Errorf("find queue %s: %w", queue, err)
	}
	got, err := s.Clients.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{
		sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}})
	if err != nil {
		return queueDepth{}, fmt.Errorf("read depth of queue %s: %w", queue, err)
	}
	n := func(name sqstypes.QueueAttributeName) int {
		i, _ := strconv.Atoi(got.Attributes[string(name)]) // absent: 0
		return i
	}
	return queueDepth{n(sqstypes.QueueAttributeNameApproximateNumberOfMessages), n(sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible)}, nil
}

type statusResult struct {
	Stack string `json:"stack"`
	Place
	API       string           `json:"api,omitempty"`
	Present   int              `json:"present"`
	Absent    int              `json:"absent"`
	Drifted   int              `json:"drifted"`
	Foreign   int              `json:"foreign"`
	Unknown   int              `json:"unknown"`
	Resources []resourceStatus `json:"resources"`
	// Without names the parts that up left out.
	Without []string          `json:"without,omitempty"`
	Aliases map[string]string `json:"aliases"` // function -> version
	// Delivery is the pipeline's last execution.
	Delivery *delivery.Execution   `json:"delivery,omitempty"`
	Queues   map[string]queueDepth `json:"queues"`
	Stock    []order.Stock         `json:"stock"`
}

type resourceStatus struct {
	ID    string       `json:"id"`
	State string       `json:"state"` // present, absent, drifted, foreign, unknown
	Drift []graph.Diff `json:"drift,omitempty"`
	Error string       `json:"error,omitempty"`
}

type queueDepth struct {
	Visible  int `json:"visible"`
	InFlight int `json:"in_flight"`
}

func (r *statusResult) add(s graph.Step) {
	one := resourceStatus{ID: s.ID, Drift: s.Drift}
	switch {
	case s.Action == graph.Foreign:
		one.State = "foreign"
		r.Foreign++
	case s.Err != nil:
		one.State, one.Error = "unknown", s.Err.Error()
		r.Unknown++
	case s.Action == graph.Keep:
		one.State = "present"
		r.Present++
	case s.Action == graph.Create:
		one.State = "absent"
		r.Absent++
	default:
		one.State = "drifted"
		r.Present++
		r.Drifted++
	}
	r.Resources = append(r.Resources, one)
}

// Text implements Result.
func (r statusResult) Text(p *ui.Page) {
	rows := make([][]string, 0, len(r.Resources))
	if r.Present > 0 {
		for _, one := range r.Resources {
			rows = append(rows, []string{one.ID, stateText(p, one.State)})
			for _, d := range one.Drift {
				rows = append(rows, []string{p.Dim("  " + d.Field), p.Dim("want ") + shorten(d.Want) + p.Dim(" got ") + shorten(d.Got)})
			}
			if one.Error != "" {
				rows = append(rows, []string{"", p.Bad(ui.Clean(one.Error))})
			}
		}
		p.Table([]string{"RESOURCE", "STATE"}, rows)
		p.Line()
	}
	p.Line(p.Bold("Stack "+r.Stack+":"), fmt.Sprintf("%d present, %d absent, %d drifted", r.Present, r.Absent, r.Drifted), p.Dim("("+r.Account+", "+r.Region+", "+r.Endpoint+")"))
	if len(r.Without) > 0 {
		p.Line(p.Dim("made without its pipeline; miniforge up adds it"))
	}
	if r.API != "" {
		p.Line("API:", r.API)
	}
	if d := r.Delivery; d != nil {
		p.Line("Last delivery:", deliveryText(p, d), "commit", shortCommit(d.Commit), p.Dim(d.Began.Local().Format(time.DateTime)))
	}
	rows = rows[:0]
	for _, f := range stack.FunctionNames() {
		if v, is := r.Aliases[f]; is {
			rows = append(rows, []string{f, v})
		}
	}
	if len(rows) > 0 {
		p.Line()
		p.Table([]string{"FUNCTION", "LIVE VERSION"}, rows)
	}
	if len(r.Queues) > 0 {
		p.Line()
		printQueues(p, r.Queues)
	}
	if len(r.Stock) > 0 {
		p.Line()
		printStock(p, r.Stock)
	}
}

func deliveryText(p *ui.Page, d *delivery.Execution) string {
	switch {
	case d.Succeeded():
		return p.Good(d.Status)
	case d.Running():
		return p.Warn(d.Status)
	}
	return p.Bad(d.Status)
}

func stateText(p *ui.Page, state string) string {
	switch state {
	case "present":
		return p.Good(state)
	case "absent":
		return p.Dim(state)
	case "drifted":
		return p.Warn(state)
	default:
		return p.Bad(state)
	}
}
