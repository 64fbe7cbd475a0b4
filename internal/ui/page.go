// Package ui is how the tool looks: pages with styles and tables on standard
// output, live progress on standard error. It is the only importer of lipgloss.
package ui

import (
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// DefaultWidth is the width of a page that is not a terminal.
const DefaultWidth = 100

// A Page is a stream that people read, with colour if it has any. The first
// error of a write is kept and ends all further writing.
type Page struct {
	Width int // columns

	w     io.Writer
	err   error
	style styles
}

// styles are the few meanings that a page marks, in the terminal's own 16
// colours: they suit every theme, and the terminal need not be asked for its
// background, which costs a round trip that some terminals never answer.
type styles struct{ good, bad, warn, dim, bold, head lipgloss.Style }

func newStyles(w io.Writer, colour bool) styles {
	profile := termenv.Ascii
	if colour {
		profile = termenv.ANSI
	}
	r := lipgloss.NewRenderer(w)
	r.SetColorProfile(profile)
	r.SetHasDarkBackground(true) // asked for nowhere, as no style is adaptive
	plain := r.NewStyle()
	if !colour { // Ascii drops colours only: bold and faint would stay
		return styles{plain, plain, plain, plain, plain, plain}
	}
	return styles{
		good: plain.Foreground(lipgloss.Color("2")),
		bad:  plain.Foreground(lipgloss.Color("1")).Bold(true),
		warn: plain.Foreground(lipgloss.Color("3")),
		dim:  plain.Faint(true),
		bold: plain.Bold(true),
		head: plain.Faint(true),
	}
}

// NewPage returns a page on w. A width of 0 is DefaultWidth.
func NewPage(w io.Writer, colour bool, width int) *Page {
	if width <= 0 {
		width = DefaultWidth
	}
	return &Page{w: w, Width: width, style: newStyles(w, colour)}
}

// Write implements [io.Writer].
func (p *Page) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.w.Write(b)
	p.err = err
	return n, err
}

// Printf writes as fmt.Printf does; the error is kept for Err.
func (p *Page) Printf(format string, args ...any) { _, _ = fmt.Fprintf(p, format, args...) }

// Line writes the parts, with a space between them, as one line.
func (p *Page) Line(parts ...string) { p.Printf("%s\n", strings.Join(parts, " ")) }

// Err returns the first error of a write.
func (p *Page) Err() error { return p.err }

// Good marks what is as it should be.
func (p *Page) Good(s string) string { return p.style.good.Render(s) }

// Bad marks what failed.
func (p *Page) Bad(s string) string { return p.style.bad.Render(s) }

// Warn marks what deserves a look.
func (p *Page) Warn(s string) string { return p.style.warn.Render(s) }

// Dim marks what may be skipped in reading.
func (p *Page) Dim(s string) string { return p.style.dim.Render(s) }

// Bold marks what the eye should find first.
func (p *Page) Bold(s string) string { return p.style.bold.Render(s) }

// Clean makes text from outside safe for a terminal: control characters, which
// could move the cursor or change what is on the screen, are shown, not sent.
func Clean(s string) string {
	if !strings.ContainsFunc(s, control) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if control(r) {
			fmt.Fprintf(&b, "\\x%02x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func control(r rune) bool { return r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 }
