package ui

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPageWithoutColour(t *testing.T) {
	var b bytes.Buffer
	p := NewPage(&b, false, 0)
	p.Line(p.Good("good"), p.Bad("bad"), p.Warn("warn"), p.Dim("dim"), p.Bold("bold"))
	p.Table([]string{"NAME", "N"}, [][]string{{"short", "1"}, {"much longer", "22"}})
	want := "good bad warn dim bold\nNAME         N\nshort        1\nmuch longer  22\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
}

func TestTableAlignsStyledCells(t *testing.T) {
	var b bytes.Buffer
	p := NewPage(&b, true, 0)
	p.Table([]string{"A", "B"}, [][]string{{p.Good("ok"), "1"}, {"plain", "2"}})
	lines := strings.Split(b.String(), "\n")
	if !strings.Contains(lines[1], "\x1b[32mok\x1b[0m     1") {
		t.Errorf("a styled cell is padded by what is seen of it: %q", lines[1])
	}
}

type brokenPipe struct{ writes int }

func (b *brokenPipe) Write([]byte) (int, error) { b.writes++; return 0, errors.New("broken pipe") }

func TestPageKeepsFirstError(t *testing.T) {
	w := &brokenPipe{}
	p := NewPage(w, false, 0)
	p.Line("one")
	p.Line("two")
	if p.Err() == nil || w.writes != 1 {
		t.Errorf("error %v after %d writes, want the first one after 1", p.Err(), w.writes)
	}
}

func TestClean(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"text stays", "Ember Dragon — größer\t2", "Ember Dragon — größer\t2"},
		{"escape sequences are shown", "\x1b[2Jgone", `\x1b[2Jgone`},
		{"lines are not forged", "a\r\nb", `a\x0d\x0ab`},
		{"C1 controls are controls", "\u009b31m", `\x9b31m`},
	} {
		if got := Clean(tc.in); got != tc.want {
			t.Errorf("%s: Clean(%q) = %q, want %q", tc.name, tc.in, got, tc.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0ms", 999 * time.Microsecond: "0ms", 12345 * time.Microsecond: "12ms", 1234 * time.Millisecond: "1.2s",
		59900 * time.Millisecond: "59.9s", 125 * time.Second: "2m05s",
	} {
		if got := Duration(in); got != want {
			t.Errorf("Duration(%d) = %q, want %q", in, got, want)
		}
	}
}

// start begins three tasks: one ends unchanged, one changed, one is still at work.
func start(p *Progress) {
	p.Title("Creating stack", 3)
	p.Start("sqs/kept")
	p.Start("sqs/made")
	p.Start("iam/slow")
	time.Sleep(200 * time.Millisecond)
	p.End("sqs/kept", Unchanged, "unchanged")
	p.End("sqs/made", Changed, "created")
	p.Note("iam/slow", "not yet: in use")
}

func TestPlainProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := NewProgress(&b, ProgressOptions{Mode: Plain})
		start(p)
		time.Sleep(40 * time.Second)
		p.End("iam/slow", Failed, "denied\x1b[2J")
		p.Close()
		want := `Creating stack
sqs/made: created (200ms)
iam/slow: not yet: in use
still working on iam/slow, the first for 15.0s
still working on iam/slow, the first for 30.0s
iam/slow: denied\x1b[2J (40.2s)
`
		clock := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `)
		if n := len(clock.FindAllString(b.String(), -1)); n != 6 {
			t.Errorf("%d lines begin with a time, want 6", n)
		}
		if diff := cmp.Diff(want, clock.ReplaceAllString(b.String(), "")); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

func TestLiveProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := NewProgress(&b, ProgressOptions{Mode: Live, Size: func() (int, int) { return 60, 24 }})
		start(p)
		time.Sleep(150 * time.Millisecond)
		synctest.Wait()
		p.mu.Lock()
		frame := p.tree(0, false)
		p.mu.Unlock()
		want := []string{
			"Creating stack  2/3  350ms",
			"  ✓ sqs             2/2  200ms",
			"  " + strings.Fields(frame[2])[0] + " iam             0/1  0ms",
			"      slow  350ms  not yet: in use",
		}
		if diff := cmp.Diff(want, frame); diff != "" {
			t.Errorf("frame (-want +got):\n%s", diff)
		}
		p.End("iam/slow", Failed, "denied")
		p.Close()
		p.Close() // twice is harmless
		last := b.String()[strings.LastIndex(b.String(), "\x1b[J")+3:]
		if want := "Creating stack  3/3\n  ✓ sqs             2/2  200ms\n  ✗ iam             1/1  350ms\n      ✗ slow  denied\n"; last != want {
			t.Errorf("what stays is %q, want %q", last, want)
		}
	})
}

func TestLiveProgressFitsTheTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProgress(&bytes.Buffer{}, ProgressOptions{Mode: Live})
		p.Title("Many", 100)
		for i := range 100 {
			p.Start("group/" + strings.Repeat("x", i+1))
		}
		p.mu.Lock()
		lines := p.tree(10, false)
		p.mu.Unlock()
		p.Close()
		if len(lines) != 10 || !strings.Contains(lines[9], "lines more") {
			t.Errorf("%d lines, the last %q; want 10 that end in how many are left out", len(lines), lines[len(lines)-1])
		}
	})
}

func TestSilentProgress(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, ProgressOptions{Mode: Silent})
	p.Title("Quiet", 1)
	p.Start("a")
	p.End("a", Failed, "no")
	p.Message("no")
	p.Close()
	if b.Len() > 0 {
		t.Errorf("wrote %q, want nothing", b.String())
	}
}
