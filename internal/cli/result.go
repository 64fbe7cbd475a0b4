package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"miniforge/internal/ui"
)

// A Result is what a command found or did. It is marshalled as the data of the
// envelope with --output json, and writes itself for people otherwise.
type Result interface{ Text(*ui.Page) }

// An envelope is what a command writes with --output json: one, whatever
// happens, as soon as the command line could be read.
type envelope struct {
	Schema string         `json:"schema"` // "miniforge.order.get/1"
	OK     bool           `json:"ok"`
	Data   any            `json:"data,omitempty"`
	Error  *envelopeError `json:"error,omitempty"`
}

type envelopeError struct {
	Message  string `json:"message"`
	ExitCode int    `json:"exit_code"`
	Next     string `json:"next,omitempty"`
}

// An event is one line of a stream.
type event struct {
	Schema string `json:"schema"` // "miniforge.order.watch.event/1"
	Data   any    `json:"data"`
}

// result makes cobra's run function of one that returns a Result: the one
// place where results are written. A Result and an error may come together.
func (a *app) result(run func(context.Context, []string) (Result, error)) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		ctx, cancel := c.Context(), func() {}
		if a.timeout > 0 {
			ctx, cancel = context.WithTimeoutCause(ctx, a.timeout, errTimeout)
		}
		defer cancel()
		r, err := run(ctx, args)
		a.endProgress()
		err = a.cause(ctx, err)
		if a.json() {
			a.data = r
			if err == nil {
				return a.envelope(c, nil)
			}
			return err // report writes the envelope
		}
		if r == nil {
			return err
		}
		page := a.page()
		r.Text(page)
		return errors.Join(err, page.Err())
	}
}

// envelope writes the result and, if f is not nil, why it is not a good one.
func (a *app) envelope(c *cobra.Command, f *failure) error {
	e := envelope{Schema: schema(c, ""), OK: f == nil}
	if a.data != nil {
		e.Data = a.data
	}
	if f != nil {
		e.Error = &envelopeError{Message: f.Error(), ExitCode: f.code, Next: f.next}
	}
	enc := json.NewEncoder(a.env.Stdout)
	enc.SetEscapeHTML(false)
	if !a.streaming {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(e); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// emit writes one object of a stream, or its text.
func (a *app) emit(data any, text func(*ui.Page)) error {
	if !a.json() {
		page := a.page()
		text(page)
		return page.Err()
	}
	a.streaming = true
	enc := json.NewEncoder(a.env.Stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(event{Schema: schema(a.command, ".event"), Data: data}); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
}

func schema(c *cobra.Command, suffix string) string {
	return strings.ReplaceAll(c.CommandPath(), " ", ".") + suffix + "/1"
}

// report tells of an error, on standard error and in the envelope, and returns
// the exit code.
func (a *app) report(err error) int {
	f := judge(err)
	if a.json() && a.command != nil {
		_ = a.envelope(a.command, f) // standard output is gone: the exit code still tells
	}
	width, _, terminal := a.env.Terminal(a.env.Stderr)
	page := ui.NewPage(a.env.Stderr, terminal && a.colour(), width)
	page.Line(page.Bad("miniforge:"), cleanLines(err.Error()))
	if f.usage != "" {
		page.Line("usage:", f.usage)
	}
	if f.next != "" {
		page.Line(page.Dim("next: "), f.next)
	}
	return f.code
}

// cleanLines is ui.Clean but keeps lines apart: errors may be several.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = ui.Clean(l)
	}
	return strings.Join(lines, "\n  ")
}

// marshal is json.Marshal for results with a form of their own.
func marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return data, nil
}
