package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"miniforge/internal/bench"
	"miniforge/internal/check"
	"miniforge/internal/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sample() report.Report {
	claim := func(ok bool) check.Claim {
		return check.Claim{What: "status", Want: "CONFIRMED", Got: "FAILED | <b>`x`", OK: ok}
	}
	r := report.New(report.Target{Stack: "miniforge", Endpoint: "http://127.0.0.1:4566", Account: "000000000000", Region: "us-east-1", Version: "1.0"},
		time.Now(), []check.Result{
			{Suite: "smoke", ID: "resource.table", Title: "The table is there", Outcome: check.Pass, Claims: []check.Claim{claim(true)}, Took: 1500 * time.Microsecond, Measurements: []check.Measurement{
				{Name: "orders | placed", Value: 212.34, Unit: "orders/s"},
				{Name: "POST", Latency: &bench.Latency{
					Count: 3, Min: 900 * time.Microsecond, Mean: 2 * time.Millisecond, P50: 1200 * time.Microsecond, P90: 3 * time.Millisecond, P95: 3 * time.Millisecond,
					P99: 3 * time.Millisecond, P999: 3 * time.Millisecond, Max: 3 * time.Millisecond,
					Buckets: []bench.Bucket{{UpTo: time.Millisecond, Count: 1}, {UpTo: 2 * time.Millisecond, Count: 2}},
				}},
			}},
			{Suite: "smoke", ID: "hop.api", Title: "The API answers", Outcome: check.Broken, Reason: "connection refused\n```", Took: time.Millisecond},
			{Suite: "integration", ID: "orders.happy", Title: "Orders | are <confirmed>", Outcome: check.Fail, Claims: []check.Claim{claim(true), claim(false)}, Took: 2 * time.Second},
			{Suite: "integration", ID: "orders.denied", Title: "Strangers are denied", Outcome: check.NotProven, Reason: "IAM is not enforced", Took: time.Microsecond},
			{Suite: "integration", ID: "orders.skip", Title: "Nothing to do", Outcome: check.Skip, Reason: "no python3"},
		})
	r.Started, r.Took = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 2345*time.Millisecond
	return r
}

func TestGolden(t *testing.T) {
	for _, f := range report.Formats() {
		t.Run(f.Name, func(t *testing.T) {
			var got bytes.Buffer
			if err := report.Write(&got, f.Name, sample()); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", f.Name+".golden")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	for _, o := range check.Outcomes() {
		r := report.New(report.Target{}, time.Now(), []check.Result{{Outcome: check.Pass}, {Outcome: o}})
		if want := o != check.Fail && o != check.Broken; r.OK != want {
			t.Errorf("%s: OK = %v", o, r.OK)
		}
	}
}

func TestEmptyReportHasNoNulls(t *testing.T) {
	var b bytes.Buffer
	if err := report.JSON(&b, report.New(report.Target{}, time.Now(), nil)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "null") {
		t.Errorf("report: %s", &b)
	}
	for _, f := range report.Formats() {
		if err := f.Write(&b, report.New(report.Target{}, time.Now(), nil)); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestFormatsStayWellFormed(t *testing.T) {
	nasty := "]]> & \x00\x1b[31m <x> ``` | \xff end"
	r := report.New(report.Target{Endpoint: nasty}, time.Now(), []check.Result{{
		Suite: nasty, ID: nasty, Title: nasty, Outcome: check.Fail, Reason: nasty,
		Claims:       []check.Claim{{What: nasty, Want: nasty, Got: nasty}},
		Measurements: []check.Measurement{{Name: nasty, Unit: nasty}},
	}})
	var b bytes.Buffer
	if err := report.JUnit(&b, r); err != nil {
		t.Fatal(err)
	}
	var any struct {
		Suites []struct {
			Cases []struct {
				Failure struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &any); err != nil {
		t.Fatalf("%v in %s", err, &b)
	}
	if text := any.Suites[0].Cases[0].Failure.Text; !strings.Contains(text, "]]>") || !strings.Contains(text, "end") {
		t.Errorf("evidence %q", text)
	}
	b.Reset()
	if err := report.JSON(&b, r); err != nil || !json.Valid(b.Bytes()) {
		t.Errorf("JSON: %v", err)
	}
	b.Reset()
	if err := report.Text(&b, r); err != nil || strings.Contains(b.String(), "\x1b") {
		t.Errorf("text: %v: an endpoint's answer reaches the terminal: %q", err, &b)
	}
}

func TestUnknownFormat(t *testing.T) {
	if err := report.Write(&bytes.Buffer{}, "pdf", sample()); err == nil || !strings.Contains(err.Error(), "text, json, junit, markdown") {
		t.Errorf("error = %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrorsAreTold(t *testing.T) {
	for _, f := range report.Formats() {
		if err := f.Write(full{}, sample()); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("%s: error = %v", f.Name, err)
		}
	}
}
