//go:build unix

package cloud

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestDescriptorsAreNotInherited: a file that the process was started with is
// not open in those that a cloud starts.
func TestDescriptorsAreNotInherited(t *testing.T) {
	name := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(name, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY, 0) // without O_CLOEXEC, as from a shell's 3<private
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	child := func() (string, error) {
		if _, err := syscall.Seek(fd, 0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "cat", "/dev/fd/"+strconv.Itoa(fd)).Output()
		return string(out), err
	}
	if got, err := child(); err != nil || got != "secret" {
		t.Fatalf("the file is not inherited in the first place: %q, %v", got, err)
	}
	newCloud(t)
	if got, err := child(); err == nil {
		t.Errorf("a child reads %q", got)
	}
}
