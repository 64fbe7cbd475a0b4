package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"miniforge/internal/check"
)

// JUnit writes the report as JUnit XML, with titles as the names of test cases
// and ids as their classes.
func JUnit(w io.Writer, r Report) error {
	suites := junit.Testsuites{Name: "miniforge verify", Time: xmlSeconds(r.Took)}
	for i, results := range r.bySuite() {
		var took time.Duration
		suite := junit.Testsuite{Name: results[0].Suite, ID: i, Hostname: r.Target.Endpoint}
		suite.SetTimestamp(r.Started)
		suite.AddProperty("stack", r.Target.Stack)
		suite.AddProperty("account", r.Target.Account)
		suite.AddProperty("region", r.Target.Region)
		for _, x := range results {
			took += x.Took
			suite.AddTestcase(testcase(x))
		}
		suite.Time = xmlSeconds(took)
		suites.AddSuite(suite)
	}
	var b bytes.Buffer
	if err := suites.WriteXML(&b); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	b.WriteByte('\n')
	return flush(w, &b)
}

func testcase(x check.Result) junit.Testcase {
	c := junit.Testcase{Name: x.Title, Classname: x.ID, Time: xmlSeconds(x.Took)}
	var evidence []string
	for _, claim := range x.Failed() {
		evidence = append(evidence, claim.String())
	}
	result := &junit.Result{Message: x.Reason, Type: string(x.Outcome), Data: strings.Join(evidence, "\n")}
	if result.Message == "" && len(evidence) > 0 {
		result.Message = evidence[0]
	}
	var measured []string
	for _, m := range x.Measurements {
		measured = append(measured, m.Name+": "+m.String())
	}
	if len(measured) > 0 {
		c.SystemOut = &junit.Output{Data: strings.Join(measured, "\n")}
	}
	switch x.Outcome {
	case check.Fail:
		c.Failure = result
	case check.Broken:
		c.Error = result
	case check.Skip, check.NotProven: // JUnit knows no third way
		c.Skipped = result
	case check.Pass:
	}
	return c
}

func xmlSeconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
