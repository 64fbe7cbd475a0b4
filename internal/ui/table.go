package ui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
)

// Table writes rows in columns below a heading. Cells may be styled. The last
// column is cut where the page ends, on a terminal; elsewhere nothing is cut.
func (p *Page) Table(heading []string, rows [][]string) {
	widths := make([]int, len(heading))
	for i, h := range heading {
		widths[i] = lipgloss.Width(h)
	}
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	head := make([]string, len(heading))
	for i, h := range heading {
		head[i] = p.style.head.Render(h)
	}
	p.row(widths, head)
	for _, row := range rows {
		p.row(widths, row)
	}
}

func (p *Page) row(widths []int, cells []string) {
	var b strings.Builder
	for i, cell := range cells {
		b.WriteString(cell)
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", widths[i]-lipgloss.Width(cell)+2))
		}
	}
	p.Printf("%s\n", strings.TrimRight(b.String(), " "))
}
