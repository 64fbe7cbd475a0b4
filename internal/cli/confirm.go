package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
)

// confirm asks before something is destroyed. Without a terminal there is
// nobody to ask: then it fails unless --yes was given, and never hangs.
func (a *app) confirm(ctx context.Context, question string) error {
	if a.yes {
		return nil
	}
	if _, _, terminal := a.env.Terminal(a.env.Stdin); !terminal {
		return fail(exitConfirm, "repeat with --yes", fmt.Errorf("%s: %w, as there is no terminal to ask on", question, errDeclined))
	}
	a.endProgress()
	if _, err := fmt.Fprintf(a.env.Stderr, "%s? [y/N] ", question); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	answer := make(chan string, 1)
	// A read from a terminal cannot be cancelled: after Ctrl-C this ends with
	// the process.
	go func() {
		line, _ := bufio.NewReader(a.env.Stdin).ReadString('\n') // an error is a no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case said := <-answer:
		if said == "y" || said == "yes" {
			return nil
		}
		return fail(exitConfirm, "", errors.New("nothing was changed"))
	}
}
