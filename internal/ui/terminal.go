package ui

import "github.com/charmbracelet/x/term"

// TerminalSize tells whether a stream is a terminal, and of what size.
func TerminalSize(stream any) (width, height int, ok bool) {
	f, isFile := stream.(interface{ Fd() uintptr })
	if !isFile || !term.IsTerminal(f.Fd()) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(f.Fd())
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24, true // a terminal that does not tell, such as a serial line
	}
	return width, height, true
}
