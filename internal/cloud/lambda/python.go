package lambda

import (
	_ "embed"
	"fmt"
	"os/exec"
	"strings"
	"sync"
)

// pythonRuntime is a client of the Runtime API that runs a Python handler.
//
//go:embed runtime.py
var pythonRuntime string

// findPython is the path of the interpreter itself: what the path of commands
// names may be a script that needs the user's environment.
var findPython = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		return "", fmt.Errorf("find python3: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})
