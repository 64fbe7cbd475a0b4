package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"miniforge/internal/bench"
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
			for _, m := range x.Measurements {
				fmt.Fprintf(&b, "              %s: %s\n", m.Name, m)
			}
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
		markdownMeasurements(&b, suite)
		for _, x := range suite {
			markdownEvidence(&b, x)
		}
	}
	return flush(w, &b)
}

// markdownMeasurements writes what a suite measured: figures first, then
// latencies with their histograms.
func markdownMeasurements(b *bytes.Buffer, suite []check.Result) {
	var figures, latencies []check.Measurement
	for _, x := range suite {
		for _, m := range x.Measurements {
			if m.Latency != nil {
				latencies = append(latencies, m)
			} else {
				figures = append(figures, m)
			}
		}
	}
	if len(figures) > 0 {
		fmt.Fprint(b, "\n| measured | |\n|---|---|\n")
		for _, m := range figures {
			fmt.Fprintf(b, "| %s | %s |\n", cell(m.Name), cell(m.String()))
		}
	}
	if len(latencies) == 0 {
		return
	}
	fmt.Fprint(b, "\n| latency | count | p50 | p90 | p99 | max |\n|---|---|---|---|---|---|\n")
	for _, m := range latencies {
		l := m.Latency
		fmt.Fprintf(b, "| %s | %d | %s | %s | %s | %s |\n", cell(m.Name), l.Count,
			bench.Millis(l.P50), bench.Millis(l.P90), bench.Millis(l.P99), bench.Millis(l.Max))
	}
	for _, m := range latencies {
		fmt.Fprintf(b, "\n<details><summary>Histogram: %s</summary>\n\n```\n%s```\n\n</details>\n", cell(m.Name), m.Latency.Chart(40))
	}
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
