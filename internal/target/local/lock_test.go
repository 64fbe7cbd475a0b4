package local

import (
	"os"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// TestACloudThatIsJustStarting has its lock and has not written its number yet,
// which is not damage.
func TestACloudThatIsJustStarting(t *testing.T) {
	f := Folder(t.TempDir())
	file := f.join(cloudLock)
	l := flock.New(file, flock.SetFlag(os.O_CREATE|os.O_RDWR))
	if got, err := l.TryLock(); err != nil || !got {
		t.Fatalf("%v, %v", got, err)
	}
	defer l.Unlock() //nolint:errcheck // the file is removed
	written := make(chan error, 1)
	time.AfterFunc(2*lockPause, func() { written <- os.WriteFile(file, []byte("4711 miniforge cloud start\n"), 0o600) })
	if pid, err := f.serving(); err != nil || pid != 4711 {
		t.Errorf("process %d, %v", pid, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}
