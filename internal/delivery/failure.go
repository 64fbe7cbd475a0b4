package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	buildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
)

// A Failure is why an execution did not succeed.
type Failure struct {
	Action
	// Group and Stream are where the log of the build is; empty if the action
	// is no build, or none began.
	Group  string `json:"log_group,omitempty"`
	Stream string `json:"log_stream,omitempty"`
	// Lines are those of the log that tell what went wrong.
	Lines []string `json:"lines,omitempty"`
}

// Failures finds out why the actions that failed did. What cannot be found out
// is said in the failure itself: that the execution failed is known already.
func (p *Pipeline) Failures(ctx context.Context, e Execution) []Failure {
	var all []Failure
	for _, a := range e.Actions {
		if a.Status != string(types.ActionExecutionStatusFailed) {
			continue
		}
		f := Failure{Action: a}
		if a.Build != "" {
			if err := p.readLog(ctx, &f); err != nil {
				f.Lines = []string{"(the log cannot be read: " + err.Error() + ")"}
			}
		}
		all = append(all, f)
	}
	return all
}

// lastLines is how many lines of a log are searched. CloudWatch Logs gives no
// more than 1 MB at once in any case.
const lastLines = 500

func (p *Pipeline) readLog(ctx context.Context, f *Failure) error {
	out, err := p.CodeBuild.BatchGetBuilds(ctx, &codebuild.BatchGetBuildsInput{Ids: []string{f.Build}})
	if err != nil {
		return fmt.Errorf("read build %s: %w", f.Build, err)
	}
	if len(out.Builds) == 0 {
		return fmt.Errorf("build %s is gone", f.Build)
	}
	b := out.Builds[0]
	if why := phaseFailure(b.Phases); why != "" {
		f.Reason = why
	}
	if b.Logs == nil || aws.ToString(b.Logs.StreamName) == "" {
		return nil // it failed before it could write
	}
	f.Group, f.Stream = aws.ToString(b.Logs.GroupName), aws.ToString(b.Logs.StreamName)
	log, err := p.Logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: &f.Group, LogStreamName: &f.Stream, Limit: aws.Int32(lastLines), StartFromHead: aws.Bool(false),
	})
	if err != nil {
		return fmt.Errorf("read log %s of %s: %w", f.Stream, f.Group, err)
	}
	var lines []string
	for _, e := range log.Events {
		lines = append(lines, strings.Split(strings.TrimRight(aws.ToString(e.Message), "\r\n"), "\n")...)
	}
	f.Lines = relevant(lines)
	return nil
}

// phaseFailure is the first phase that failed, and why.
func phaseFailure(phases []buildtypes.BuildPhase) string {
	for _, phase := range phases {
		if phase.PhaseStatus == "" || phase.PhaseStatus == buildtypes.StatusTypeSucceeded {
			continue
		}
		parts := []string{"phase " + string(phase.PhaseType) + " " + string(phase.PhaseStatus)}
		for _, c := range phase.Contexts {
			if m := aws.ToString(c.Message); m != "" {
				parts = append(parts, m)
			}
		}
		return strings.Join(parts, ": ")
	}
	return ""
}

// relevant are the lines that the failed command wrote: those between its
// start and its end, without CodeBuild's own. A log without such a command
// gives its last lines.
func relevant(lines []string) []string {
	const most = 40
	own := func(l string) bool { return strings.HasPrefix(l, "[Container]") }
	end := slices.IndexFunc(lines, func(l string) bool { return own(l) && strings.Contains(l, "did not exit successfully") })
	if end < 0 {
		return lines[max(0, len(lines)-most):]
	}
	begin := end
	for begin > 0 && !(own(lines[begin-1]) && strings.Contains(lines[begin-1], "Running command")) {
		begin--
	}
	said := slices.DeleteFunc(slices.Clone(lines[begin:end]), func(l string) bool { return own(l) || strings.TrimSpace(l) == "" })
	if len(said) == 0 {
		return lines[end : end+1] // a command that failed in silence
	}
	return said[max(0, len(said)-most):]
}
