package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/spf13/cobra"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

type executionsOptions struct {
	status string
	limit  int
}

func (a *app) executionsCommand() *cobra.Command {
	var o executionsOptions
	list := &cobra.Command{
		Use:   "list",
		Short: "List workflow executions, the newest first",
		Args:  args(cobra.NoArgs),
	}
	list.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		o.status = strings.ToUpper(o.status)
		if all := types.ExecutionStatus("").Values(); o.status != "" && !slices.Contains(all, types.ExecutionStatus(o.status)) {
			return nil, usageError(list, fmt.Errorf("status %q: there are %s", ui.Clean(o.status), joined(all)))
		}
		if o.limit <= 0 {
			return nil, usageError(list, fmt.Errorf("limit %d is not positive", o.limit))
		}
		_, s, err := a.stack(ctx, target.StartKnown)
		if err != nil {
			return nil, err
		}
		return listExecutions(ctx, s, o)
	})
	list.Flags().StringVar(&o.status, "status", "", "only those in this state, such as RUNNING or FAILED")
	list.Flags().IntVar(&o.limit, "limit", 50, "at most so many")
	watch := &cobra.Command{
		Use:   "watch EXECUTION|ORDER",
		Short: "Follow an execution live, state by state, to its end",
		Long:  "Follows an execution, given by its ARN, its name, or the id of its order.",
		Args:  args(cobra.ExactArgs(1)),
		RunE: a.result(func(ctx context.Context, ids []string) (Result, error) {
			_, s, err := a.stack(ctx, target.StartKnown)
			if err != nil {
				return nil, err
			}
			return a.watchExecution(ctx, s, ids[0])
		}),
	}
	c := group(&cobra.Command{Use: "executions", Aliases: []string{"execution"}, Short: "List and follow workflow executions"}, list, watch)
	return c
}

func listExecutions(ctx context.Context, s *stack.Stack, o executionsOptions) (Result, error) {
	in := &sfn.ListExecutionsInput{StateMachineArn: aws.String(s.StateMachineARN()), MaxResults: int32(min(o.limit, 1000))}
	if o.status != "" {
		in.StatusFilter = types.ExecutionStatus(o.status)
	}
	r := executionsResult{Executions: []execution{}}
	pages := sfn.NewListExecutionsPaginator(s.Clients.SFN, in)
	for pages.HasMorePages() && len(r.Executions) < o.limit {
		page, err := pages.NextPage(ctx)
		if _, gone := errors.AsType[*types.StateMachineDoesNotExist](err); gone {
			return nil, fail(exitFailed, "run: miniforge up", fmt.Errorf("list executions: there is no stack %s in account %s, region %s", s.Name, s.Account, s.Region))
		}
		if err != nil {
			return nil, fmt.Errorf("list executions: %w", err)
		}
		for _, e := range page.Executions {
			r.Executions = append(r.Executions, executionOf(e))
		}
	}
	r.Executions = r.Executions[:min(o.limit, len(r.Executions))]
	return r, nil
}

type execution struct {
	Name      string        `json:"name"`
	ARN       string        `json:"execution_arn"`
	Status    string        `json:"status"`
	StartedAt time.Time     `json:"started_at"`
	StoppedAt time.Time     `json:"stopped_at,omitzero"`
	Took      time.Duration `json:"took_ns,omitempty"`
}

func executionOf(e types.ExecutionListItem) execution {
	out := execution{
		Name: aws.ToString(e.Name), ARN: aws.ToString(e.ExecutionArn), Status: string(e.Status),
		StartedAt: aws.ToTime(e.StartDate), StoppedAt: aws.ToTime(e.StopDate),
	}
	if !out.StoppedAt.IsZero() {
		out.Took = out.StoppedAt.Sub(out.StartedAt)
	}
	return out
}

type executionsResult struct {
	Executions []execution `json:"executions"`
}

// Text implements Result.
func (r executionsResult) Text(p *ui.Page) {
	rows := make([][]string, len(r.Executions))
	for i, e := range r.Executions {
		took := ""
		if !e.StoppedAt.IsZero() {
			took = ui.Duration(e.Took)
		}
		rows[i] = []string{e.Name, executionText(p, e.Status), e.StartedAt.Format(time.RFC3339), took}
	}
	p.Table([]string{"EXECUTION", "STATUS", "STARTED", "TOOK"}, rows)
}

func executionText(p *ui.Page, status string) string {
	switch types.ExecutionStatus(status) {
	case types.ExecutionStatusSucceeded:
		return p.Good(status)
	case types.ExecutionStatusRunning, types.ExecutionStatusPendingRedrive:
		return p.Warn(status)
	default:
		return p.Bad(status)
	}
}

// resolve finds the execution that a person means.
func resolveExecution(ctx context.Context, s *stack.Stack, id string) (string, error) {
	switch {
	case strings.HasPrefix(id, "arn:"):
		return id, nil
	case !order.ValidID(id):
		return strings.Replace(s.StateMachineARN(), ":stateMachine:", ":execution:", 1) + ":" + id, nil
	}
	got, err := s.Clients.DynamoDB.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String(s.Orders()), Key: orderdb.Key(orderdb.OrderKey, id), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return "", absent(s, "read order "+id, err)
	}
	var o order.Order
	if err := orderdb.Unmarshal(got.Item, &o); err != nil {
		return "", fmt.Errorf("read order %s: %w", id, err)
	}
	if len(got.Item) == 0 {
		return "", fmt.Errorf("there is no order %s", id)
	}
	if o.ExecutionARN == "" {
		return "", fmt.Errorf("order %s has no execution yet", id)
	}
	return o.ExecutionARN, nil
}

// watchExecution polls the history: Step Functions pushes nothing to clients.
func (a *app) watchExecution(ctx context.Context, s *stack.Stack, id string) (Result, error) {
	arn, err := resolveExecution(ctx, s, id)
	if err != nil {
		return nil, err
	}
	var began time.Time
	told := int64(0)
	for pause := 25 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		// The status first: what happens until the history is read is in it then.
		now, err := s.Clients.SFN.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
		if err != nil {
			return nil, fmt.Errorf("read execution %s: %w", id, err)
		}
		began = aws.ToTime(now.StartDate)
		more, err := a.tell(ctx, s, arn, began, told)
		if err != nil {
			return nil, err
		}
		if more > told {
			told, pause = more, 25*time.Millisecond
		}
		if now.Status != types.ExecutionStatusRunning {
			return executionOutcome{execution{
				Name: aws.ToString(now.Name), ARN: arn, Status: string(now.Status), StartedAt: began,
				StoppedAt: aws.ToTime(now.StopDate), Took: aws.ToTime(now.StopDate).Sub(began),
			}, aws.ToString(now.Error), aws.ToString(now.Cause)}, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// tell writes the events after the one told last, and returns the new last one.
func (a *app) tell(ctx context.Context, s *stack.Stack, arn string, began time.Time, told int64) (int64, error) {
	pages := sfn.NewGetExecutionHistoryPaginator(s.Clients.SFN, &sfn.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 1000})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return told, fmt.Errorf("read history of %s: %w", arn, err)
		}
		for _, e := range page.Events {
			if e.Id <= told {
				continue
			}
			told = e.Id
			step := stepOf(e, began)
			if err := a.emit(step, step.text); err != nil {
				return told, err
			}
		}
	}
	return told, nil
}

// A step is one event of an execution's history.
type step struct {
	ID    int64         `json:"id"`
	Type  string        `json:"type"`
	State string        `json:"state,omitempty"`
	At    time.Time     `json:"at"`
	After time.Duration `json:"after_ns"`
	Error string        `json:"error,omitempty"`
	Cause string        `json:"cause,omitempty"`
}

func stepOf(e types.HistoryEvent, began time.Time) step {
	at := aws.ToTime(e.Timestamp)
	out := step{ID: e.Id, Type: string(e.Type), At: at, After: at.Sub(began)}
	switch {
	case e.StateEnteredEventDetails != nil:
		out.State = aws.ToString(e.StateEnteredEventDetails.Name)
	case e.StateExitedEventDetails != nil:
		out.State = aws.ToString(e.StateExitedEventDetails.Name)
	case e.TaskFailedEventDetails != nil:
		out.Error, out.Cause = aws.ToString(e.TaskFailedEventDetails.Error), aws.ToString(e.TaskFailedEventDetails.Cause)
	case e.LambdaFunctionFailedEventDetails != nil:
		out.Error, out.Cause = aws.ToString(e.LambdaFunctionFailedEventDetails.Error), aws.ToString(e.LambdaFunctionFailedEventDetails.Cause)
	case e.TaskTimedOutEventDetails != nil:
		out.Error, out.Cause = aws.ToString(e.TaskTimedOutEventDetails.Error), aws.ToString(e.TaskTimedOutEventDetails.Cause)
	case e.ExecutionFailedEventDetails != nil:
		out.Error, out.Cause = aws.ToString(e.ExecutionFailedEventDetails.Error), aws.ToString(e.ExecutionFailedEventDetails.Cause)
	}
	return out
}

func (s step) text(p *ui.Page) {
	line := p.Dim(fmt.Sprintf("%8s", "+"+ui.Duration(s.After))) + "  "
	switch {
	case s.Error != "":
		line += p.Bad(s.Type) + "  " + s.Error + ": " + ui.Clean(shorten(s.Cause))
	case strings.HasSuffix(s.Type, "StateEntered"):
		line += p.Bold(ui.Clean(s.State)) + p.Dim("  entered")
	case strings.HasSuffix(s.Type, "StateExited"):
		line += ui.Clean(s.State) + p.Dim("  exited")
	default:
		line += p.Dim(s.Type)
	}
	p.Line(line)
}

type executionOutcome struct {
	execution
	Error string `json:"error,omitempty"`
	Cause string `json:"cause,omitempty"`
}

// Text implements Result.
func (r executionOutcome) Text(p *ui.Page) {
	p.Line(p.Bold(ui.Clean(r.Name)), executionText(p, r.Status), p.Dim("in "+ui.Duration(r.Took)))
	if r.Error != "" {
		p.Line(" ", r.Error+":", ui.Clean(r.Cause))
	}
}
