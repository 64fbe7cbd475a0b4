//go:build unix

package sandbox_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var dirs []string

func tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "miniforge-test-")
	dirs = append(dirs, dir)
	return dir, err
}

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			code = 1
		}
	}
	for _, d := range dirs {
		_ = os.RemoveAll(d)
	}
	os.Exit(code)
}

// zombie tells whether a process has ended but nobody has asked for its end.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}
