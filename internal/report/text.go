package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"miniforge/internal/check"
)

// Text writes the report for a terminal: one line a check, and the evidence of
// what did not pass.
func Text(w io.Writer, r Report) error {
	var b bytes.Buffer
	for _, suite := range r.bySuite() {
		fmt.Fprintf(&b, "%s\n", suite[0].Suite)
		for _, x := range suite {
			fmt.Fprintf(&b, "  %-10s  %s  (%s)\n", x.Outcome, x.Title, seconds(x.Took))
			if x.Outcome == check.Pass {
				continue
			}
			if x.Reason != "" {
				fmt.Fprintf(&b, "              %s\n", strings.ReplaceAll(x.Reason, "\n", "\n              "))
			}
			for _, c := range x.Failed() {
				fmt.Fprintf(&b, "              %s\n                want  %s\n                got   %s\n", c.What, c.Want, c.Got)
			}
		}
	}
	fmt.Fprintf(&b, "%s\n", r.Summary())
	return flush(w, &b)
}

// Markdown writes the report for a pull request or the summary of a CI step.
func Markdown(w io.Writer, r Report) error {
	var b bytes.Buffer
	verdict := "passed"
	if !r.OK {
		verdict = "failed"
	}
	fmt.Fprintf(&b, "## Miniforge verification %s\n\n%s · stack `%s` · %s · account %s · %s\n", verdict, r.Summary(),
		r.Target.Stack, cell(r.Target.Endpoint), r.Target.Account, r.Target.Region)
	for _, suite := range r.bySuite() {
		fmt.Fprintf(&b, "\n### %s\n\n| outcome | check | took |\n|---|---|---|\n", suite[0].Suite)
		for _, x := range suite {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", x.Outcome, cell(x.Title), seconds(x.Took))
		}
		for _, x := range suite {
			markdownEvidence(&b, x)
		}
	}
	return flush(w, &b)
}

func markdownEvidence(b *bytes.Buffer, x check.Result) {
	if x.OK() {
		return
	}
	fmt.Fprintf(b, "\n**%s** (`%s`)\n", cell(x.Title), x.ID)
	if x.Reason != "" {
		fmt.Fprintf(b, "\n%s\n", fence(x.Reason))
	}
	if failed := x.Failed(); len(failed) > 0 {
		fmt.Fprint(b, "\n| claim | want | got |\n|---|---|---|\n")
		for _, c := range failed {
			fmt.Fprintf(b, "| %s | %s | %s |\n", cell(c.What), cell(c.Want), cell(c.Got))
		}
	}
}

// fence quotes a text with a fence that the text does not contain.
func fence(s string) string {
	mark := "```"
	for strings.Contains(s, mark) {
		mark += "`"
	}
	return mark + "\n" + s + "\n" + mark
}

// cell keeps a text within one cell of a table, and from becoming markup.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "`", "\\`").Replace(s)
}

func flush(w io.Writer, b *bytes.Buffer) error {
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
