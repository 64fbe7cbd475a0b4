// Package local runs the embedded cloud as a process of its own, one for each
// state folder: started, found again, stopped and forgotten.
//
// The folder holds
//
//	cloud.json   what a client must know: address, account, root credentials
//	cloud.pid    locked as long as a cloud runs, with its process id
//	cloud.log    what clouds in the background wrote
//	data/        the cloud's own data
//
// The lock, not cloud.json, says whether a cloud runs: the system drops it
// with the process, however that ends.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"miniforge/internal/cloud"
)

// DefaultPort is the port of a new cloud, if it is free.
const DefaultPort = 4566

var (
	// ErrNeverStarted means that the folder has had no cloud (or was reset).
	ErrNeverStarted = errors.New("no local cloud has been started yet")
	// ErrNotRunning means that there is a cloud, and its process is not running.
	ErrNotRunning = errors.New("the local cloud is not running")
	// ErrRunning means that another process serves the folder's cloud.
	ErrRunning = errors.New("a local cloud is running already")
	// ErrPortTaken means that the port asked for belongs to another process.
	ErrPortTaken = errors.New("port is taken")
	// ErrFolder means that the state folder cannot be used.
	ErrFolder = errors.New("state folder cannot be used")
	// ErrDamaged means that cloud.json cannot be read.
	ErrDamaged = errors.New("state file is damaged")
)

// A Folder is the path of a state folder.
type Folder string

// FindFolder returns the state folder that the environment names: MINIFORGE_STATE_DIR,
// or miniforge below the XDG state home. It need not exist.
func FindFolder(getenv func(string) string) (Folder, error) {
	if dir := getenv("MINIFORGE_STATE_DIR"); dir != "" {
		abs, err := filepath.Abs(dir)
		return Folder(abs), err
	}
	// The XDG specification has relative paths ignored.
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return Folder(filepath.Join(dir, "miniforge")), nil
	}
	if home := getenv("HOME"); home != "" {
		return Folder(filepath.Join(home, ".local", "state", "miniforge")), nil
	}
	return "", fmt.Errorf("%w: HOME is not set; name a folder by MINIFORGE_STATE_DIR", ErrFolder)
}

func (f Folder) join(name string) string { return filepath.Join(string(f), name) }

// Log is the file that clouds in the background write to.
func (f Folder) Log() string { return f.join("cloud.log") }

// Data is the folder of the cloud's own data.
func (f Folder) Data() string { return f.join("data") }

// Cache is a folder for what can be made again.
func (f Folder) Cache(kind string) string { return f.join(filepath.Join("cache", kind)) }

// Make makes the folder, readable to its owner alone, as credentials are in it.
func (f Folder) Make() error {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return f.unusable(err)
	}
	return nil
}

func (f Folder) unusable(err error) error {
	return fmt.Errorf("%w: %w; name a folder that can be written by MINIFORGE_STATE_DIR", ErrFolder, err)
}

// A State is what cloud.json tells.
type State struct {
	PID             int       `json:"pid"` // 0 after the cloud was stopped
	Port            int       `json:"port"`
	Endpoint        string    `json:"endpoint"`
	Account         string    `json:"account"`
	Region          string    `json:"region"`
	AccessKeyID     string    `json:"access_key_id"`
	SecretAccessKey string    `json:"secret_access_key"`
	StartedAt       time.Time `json:"started_at"`
	Version         string    `json:"version"`
	Ephemeral       bool      `json:"ephemeral,omitempty"`
	// Latency is the model of how long things take, "" for none, and Seed what
	// it draws by.
	Latency string `json:"latency,omitempty"`
	Seed    uint64 `json:"seed,omitempty"`
	// Auto says that a command started the cloud because it needed one, and
	// that the last stack may take it along.
	Auto bool `json:"auto,omitempty"`
}

// Load reads cloud.json. Its error wraps ErrNeverStarted or ErrDamaged.
func (f Folder) Load() (State, error) {
	var s State
	data, err := os.ReadFile(f.join("cloud.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, ErrNeverStarted
	case err != nil:
		return s, f.unusable(err)
	}
	if err = json.Unmarshal(data, &s); err == nil && (s.Port <= 0 || s.Endpoint == "" || s.AccessKeyID == "" || s.SecretAccessKey == "") {
		err = errors.New("it lacks the port, the endpoint or the credentials")
	}
	if err != nil {
		return State{}, fmt.Errorf("%w: %s: %w; stop the cloud (miniforge cloud stop), delete the file and start again: the cloud's data is elsewhere and stays",
			ErrDamaged, f.join("cloud.json"), err)
	}
	return s, nil
}

// save writes cloud.json so that readers see the old or the new one, whole.
func (f Folder) save(s State) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	temp, err := os.CreateTemp(string(f), "cloud.json.*") // mode 0600
	if err != nil {
		return f.unusable(err)
	}
	_, err = temp.Write(append(data, '\n'))
	if err == nil {
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), f.join("cloud.json"))
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // best effort: the write's error is the one to tell
		return f.unusable(err)
	}
	return nil
}

// Running returns the state of the folder's cloud if that answers. Otherwise
// the error wraps ErrNeverStarted, ErrNotRunning or ErrDamaged; the state is
// that of the last run, if there was one.
func (f Folder) Running(ctx context.Context) (State, error) {
	s, err := f.Load()
	if err != nil {
		return s, err
	}
	if s.PID == 0 {
		return s, ErrNotRunning
	}
	if err := s.health(ctx); err != nil {
		if ctx.Err() != nil {
			return s, context.Cause(ctx)
		}
		return s, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	return s, nil
}

// health asks whether this very cloud answers at its endpoint. After a crash
// another process may have got the port.
func (s State) health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+cloud.HealthPath, nil)
	if err != nil {
		return fmt.Errorf("ask cloud for its health: %w", err)
	}
	// A client of its own, without proxy: the cloud is on this machine.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask cloud for its health: %w", err)
	}
	defer resp.Body.Close()
	var answer struct{ PID int }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.PID != s.PID {
		return fmt.Errorf("port %d belongs to another process", s.Port)
	}
	return nil
}
