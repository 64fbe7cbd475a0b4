package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
)

// Live progress is drawn by hand: up over the lines of the last frame, clear,
// write anew. Nothing is read from the terminal and its mode is not changed,
// so Ctrl-C, pasted input and a killed process leave it as it was.

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// draw replaces the last frame.
func (p *Progress) draw() {
	if p.closed {
		return
	}
	width, height := p.o.Size()
	p.show(p.tree(max(1, height-2), false), width)
}

// settle replaces the last frame by one that stays.
func (p *Progress) settle() {
	width, _ := p.o.Size()
	p.show(p.tree(0, true), width)
	p.lines = 0
}

func (p *Progress) erase() {
	if p.lines > 0 {
		p.page.Printf("%s%s", ansi.CursorUp(p.lines), ansi.EraseScreenBelow)
	}
	p.lines = 0
}

// show writes a frame at once, which keeps it from flickering.
func (p *Progress) show(lines []string, width int) {
	var b strings.Builder
	if p.lines > 0 {
		b.WriteString("\r" + ansi.CursorUp(p.lines) + ansi.EraseScreenBelow)
	}
	for _, l := range lines {
		b.WriteString(ansi.Truncate(l, max(20, width-1), "…") + "\n")
	}
	p.page.Printf("%s", b.String())
	p.lines = len(lines)
}

// tree lists the title and, by group, what runs and what failed; tasks that
// ended well are counted in their group's line. At most height lines.
func (p *Progress) tree(height int, final bool) []string {
	if p.title == "" && len(p.order) == 0 {
		return nil
	}
	lines := []string{p.head(final)}
	for _, g := range p.groups() {
		lines = append(lines, g.line(p.page, final))
		for _, t := range g.tasks {
			if !t.ended && !final || t.ended && t.outcome == Failed {
				lines = append(lines, t.line(p.page))
			}
		}
	}
	if height > 0 && len(lines) > height {
		cut := len(lines) - height + 1
		lines = append(lines[:height-1], p.page.Dim(fmt.Sprintf("  … and %d lines more", cut)))
	}
	return lines
}

func (p *Progress) head(final bool) string {
	ended := 0
	var first time.Time
	for _, t := range p.tasks {
		if t.ended {
			ended++
		}
		if first.IsZero() || t.started.Before(first) {
			first = t.started
		}
	}
	head := p.page.Bold(p.title)
	if total := max(p.total, len(p.order)); total > 0 {
		head += p.page.Dim(fmt.Sprintf("  %d/%d", ended, total))
	}
	if !final && !first.IsZero() {
		head += p.page.Dim("  " + Duration(time.Since(first)))
	}
	return head
}

type group struct {
	name  string
	tasks []*task
}

// groups gathers the tasks by what stands before the first slash of their ids,
// in the order in which the groups first appeared.
func (p *Progress) groups() []*group {
	var list []*group
	byName := map[string]*group{}
	for _, id := range p.order {
		name, _, _ := strings.Cut(id, "/")
		g := byName[name]
		if g == nil {
			g = &group{name: name}
			byName[name], list = g, append(list, g)
		}
		g.tasks = append(g.tasks, p.tasks[id])
	}
	return list
}

func (g *group) line(p *Page, final bool) string {
	var ended, changed, failed int
	var took time.Duration
	for _, t := range g.tasks {
		if t.ended {
			ended++
			took = max(took, t.took)
		}
		switch {
		case t.ended && t.outcome == Changed:
			changed++
		case t.ended && t.outcome == Failed:
			failed++
		}
	}
	mark := p.Dim("·")
	switch {
	case failed > 0:
		mark = p.Bad("✗")
	case ended < len(g.tasks) && !final:
		mark = p.Warn(spinner[int(time.Now().UnixMilli()/frame.Milliseconds())%len(spinner)])
	case changed > 0:
		mark = p.Good("✓")
	}
	name := g.name + strings.Repeat(" ", max(1, 16-lipgloss.Width(g.name)))
	return "  " + mark + " " + name + p.Dim(fmt.Sprintf("%d/%d  %s", ended, len(g.tasks), Duration(took)))
}

func (t *task) line(p *Page) string {
	_, name, ok := strings.Cut(t.id, "/")
	if !ok {
		name = t.id
	}
	if t.ended {
		return "      " + p.Bad("✗ "+name) + "  " + Clean(t.note)
	}
	line := "      " + name + p.Dim("  "+Duration(time.Since(t.started)))
	if t.note != "" {
		line += p.Dim("  " + Clean(t.note))
	}
	return line
}
