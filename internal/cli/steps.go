package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"miniforge/internal/graph"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

// Place is where a stack is, in results.
type Place struct {
	Account  string `json:"account"`
	Region   string `json:"region"`
	Endpoint string `json:"endpoint"`
}

func placeOf(t *target.Target) Place { return Place{t.Account, t.Region, t.Name()} }

// walk shows a walk over the graph as progress.
func (a *app) walk(g *graph.Graph, title string) graph.Options {
	p := a.show()
	p.Title(title, len(g.Resources()))
	return graph.Options{Progress: func(r graph.Progress) {
		switch r.Phase {
		case graph.Started:
			p.Start(r.Step.ID)
		case graph.Retrying:
			p.Note(r.Step.ID, waitingFor(r.Step.Err))
		case graph.Ended:
			outcome, text := ui.Unchanged, past[r.Step.Action]
			switch {
			case r.Step.Action == graph.Blocked:
				outcome = ui.Skipped
			case r.Step.Err != nil:
				outcome, text = ui.Failed, firstLine(r.Step.Err)
			case r.Step.Changed() && title != looking:
				outcome = ui.Changed
			}
			p.End(r.Step.ID, outcome, text)
		}
	}}
}

// looking is the title of walks that change nothing.
const looking = "Looking at the stack"

// patience bounds a walk without --timeout: what is not yet possible after so
// long is not going to be, and a command must end.
const patience = 10 * time.Minute

// patient gives a walk its own deadline, unless the user gave one.
func (a *app) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout > 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, patience, fmt.Errorf("gave up after %s: %w", patience, errTimeout))
}

// requestID differs from one attempt to the next, and would make news of it.
var requestID = regexp.MustCompile(`https response error StatusCode: \d+, RequestID: [^,]*, `)

// waitingFor says what a resource waits for, in the same words at each attempt.
func waitingFor(err error) string {
	if wait, is := errors.AsType[*graph.NotYet](err); is {
		err = wait.Err
	}
	return "not yet: " + requestID.ReplaceAllString(firstLine(err), "")
}

func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// past is what was done, planned what would be.
var (
	past = map[graph.Action]string{
		graph.Keep: "unchanged", graph.Create: "created", graph.Update: "updated", graph.Replace: "replaced",
		graph.Delete: "deleted", graph.Foreign: "not ours", graph.Blocked: "blocked",
	}
	planned = map[graph.Action]string{
		graph.Keep: "to keep", graph.Create: "to create", graph.Update: "to update", graph.Replace: "to replace",
		graph.Delete: "to delete", graph.Foreign: "not ours", graph.Blocked: "blocked",
	}
	// actions is the order in which counts are told.
	actions = []graph.Action{graph.Create, graph.Update, graph.Replace, graph.Delete, graph.Keep, graph.Foreign, graph.Blocked}
)

// counts is "3 created, 1 updated, 38 unchanged, 1 failed".
func counts(steps []graph.Step, words map[graph.Action]string) string {
	n, failed := map[graph.Action]int{}, 0
	for _, s := range steps {
		if s.Err != nil && s.Action != graph.Blocked && s.Action != graph.Foreign {
			failed++
			continue
		}
		n[s.Action]++
	}
	var parts []string
	for _, action := range actions {
		if n[action] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[action], words[action]))
		}
	}
	if failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", failed))
	}
	if len(parts) == 0 {
		return "nothing to do"
	}
	return strings.Join(parts, ", ")
}

var marks = map[graph.Action]string{
	graph.Keep: " ", graph.Create: "+", graph.Update: "~", graph.Replace: "±", graph.Delete: "-", graph.Foreign: "!", graph.Blocked: "!",
}

// printSteps writes what is to be done, with every difference.
func printSteps(p *ui.Page, steps []graph.Step, all bool) {
	for _, s := range steps {
		if !all && !s.Changed() && s.Err == nil && s.Action != graph.Foreign {
			continue
		}
		mark := marks[s.Action]
		switch s.Action {
		case graph.Create:
			mark = p.Good(mark)
		case graph.Keep:
		case graph.Update:
			mark = p.Warn(mark)
		default:
			mark = p.Bad(mark)
		}
		p.Line(mark, s.ID)
		for _, d := range s.Drift {
			p.Line("   ", d.Field+":", p.Bad(shorten(d.Got)), p.Dim("->"), p.Good(shorten(d.Want)))
		}
		if s.Err != nil {
			p.Line("   ", p.Bad(ui.Clean(firstLine(s.Err))))
		}
	}
}

// shorten keeps a policy document from filling the screen.
func shorten(s string) string {
	const most = 200
	if s == "" {
		return `""`
	}
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return ui.Clean(s)
}
