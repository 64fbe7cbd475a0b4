// Package report writes a finished run of checks in one of several formats. A
// format decides nothing: the outcome comes from the Report.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"miniforge/internal/check"
)

// Schema names the JSON form of a Report. It changes only if a reader of the
// old form would misunderstand the new one.
const Schema = "miniforge.report/1"

// Report is a finished run.
type Report struct {
	Schema  string         `json:"schema"`
	Target  Target         `json:"target"`
	Started time.Time      `json:"started"`
	Took    time.Duration  `json:"took_ns"`
	OK      bool           `json:"ok"`
	Counts  map[string]int `json:"counts"`  // by outcome, all of them
	Results []check.Result `json:"results"` // in declared order
}

// Target is what was judged.
type Target struct {
	Stack    string `json:"stack"`
	Endpoint string `json:"endpoint"` // "AWS" or a URL
	Account  string `json:"account"`
	Region   string `json:"region"`
	Version  string `json:"version,omitempty"` // of the tool that judged
}

// New makes the report of a run that began at started and has just ended.
func New(target Target, started time.Time, results []check.Result) Report {
	r := Report{
		Schema: Schema, Target: target, Started: started.UTC(), Took: time.Since(started),
		OK: true, Counts: map[string]int{}, Results: slices.Clone(results),
	}
	for _, o := range check.Outcomes() {
		r.Counts[string(o)] = 0
	}
	for i, x := range r.Results {
		r.Counts[string(x.Outcome)]++
		r.OK = r.OK && x.OK()
		r.Results[i] = printable(x)
	}
	if r.Results == nil {
		r.Results = []check.Result{}
	}
	return r
}

// printable rids a result of characters that would garble a terminal or break
// XML: what an endpoint answered is quoted in the evidence.
func printable(x check.Result) check.Result {
	x.Suite, x.ID, x.Title, x.Reason = clean(x.Suite), clean(x.ID), clean(x.Title), clean(x.Reason)
	claims := make([]check.Claim, len(x.Claims)) // never null
	for i, c := range x.Claims {
		claims[i] = check.Claim{What: clean(c.What), Want: clean(c.Want), Got: clean(c.Got), OK: c.OK}
	}
	x.Claims = claims
	x.Measurements = slices.Clone(x.Measurements)
	for i, m := range x.Measurements {
		x.Measurements[i].Name, x.Measurements[i].Unit = clean(m.Name), clean(m.Unit)
	}
	return x
}

func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' || c == 0xFFFE || c == 0xFFFF {
			return unicode.ReplacementChar
		}
		return c
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// Count is how many results have an outcome.
func (r Report) Count(o check.Outcome) int { return r.Counts[string(o)] }

// Summary is one line: "24 passed, 1 failed, 1 skipped in 3.2s".
func (r Report) Summary() string {
	words := map[check.Outcome]string{
		check.Pass: "passed", check.Fail: "failed", check.Broken: "broken", check.NotProven: "not proven", check.Skip: "skipped",
	}
	parts := []string{}
	for _, o := range []check.Outcome{check.Pass, check.Fail, check.Broken, check.NotProven, check.Skip} {
		if n := r.Count(o); n > 0 || o == check.Pass {
			parts = append(parts, fmt.Sprintf("%d %s", n, words[o]))
		}
	}
	return strings.Join(parts, ", ") + " in " + seconds(r.Took)
}

// Format is one way to write a report.
type Format struct {
	Name  string
	Write func(io.Writer, Report) error
}

// Formats lists what there is, in the order of a help text.
func Formats() []Format {
	return []Format{{"text", Text}, {"json", JSON}, {"junit", JUnit}, {"markdown", Markdown}}
}

// Write writes r in the format of that name.
func Write(w io.Writer, format string, r Report) error {
	names := []string{}
	for _, f := range Formats() {
		if f.Name == format {
			return f.Write(w, r)
		}
		names = append(names, f.Name)
	}
	return fmt.Errorf("write report: no format %q; there are %s", format, strings.Join(names, ", "))
}

// JSON writes the report as indented JSON.
func JSON(w io.Writer, r Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// bySuite cuts the results where the suite changes.
func (r Report) bySuite() [][]check.Result {
	var suites [][]check.Result
	for i, x := range r.Results {
		if i == 0 || x.Suite != r.Results[i-1].Suite {
			suites = append(suites, nil)
		}
		suites[len(suites)-1] = append(suites[len(suites)-1], x)
	}
	return suites
}

// seconds keeps three digits, whatever the magnitude.
func seconds(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}
