package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"miniforge/internal/cloud"
	"miniforge/internal/cloud/fault"
)

// Faults tells which faults the running cloud injects, and what it has injected.
func (s State) Faults(ctx context.Context) (fault.Status, error) {
	return s.fault(ctx, http.MethodGet, "", nil)
}

// AddFaults puts a schedule's rules in force, beside those that are. They end
// with the cloud's process, unless a rule itself ends it.
func (s State) AddFaults(ctx context.Context, schedule fault.Schedule) (fault.Status, error) {
	body, err := json.Marshal(schedule)
	if err != nil {
		return fault.Status{}, fmt.Errorf("encode fault schedule: %w", err)
	}
	return s.fault(ctx, http.MethodPost, "", body)
}

// ClearFaults takes the rule of that name away, or all where it is empty, and
// returns what they did.
func (s State) ClearFaults(ctx context.Context, name string) (fault.Status, error) {
	query := ""
	if name != "" {
		query = "?name=" + url.QueryEscape(name)
	}
	return s.fault(ctx, http.MethodDelete, query, nil)
}

// fault asks the cloud's administration, in the root user's name.
func (s State) fault(ctx context.Context, method, query string, body []byte) (status fault.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.Endpoint+cloud.FaultPath+query, bytes.NewReader(body))
	if err != nil {
		return status, fmt.Errorf("administer faults: %w", err)
	}
	sum := sha256.Sum256(body)
	root := aws.Credentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(ctx, root, r, hex.EncodeToString(sum[:]), cloud.FaultService, s.Region, time.Now()); err != nil {
		return status, fmt.Errorf("administer faults: %w", err)
	}
	// A connection of its own, as for the health check: kept ones die with a
	// cloud that a fault kills.
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return status, fmt.Errorf("administer faults: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var said struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || said.Error == "" {
			return status, fmt.Errorf("administer faults: the cloud answers %s", resp.Status)
		}
		return status, errors.New(said.Error)
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return status, fmt.Errorf("administer faults: %w", err)
	}
	return status, nil
}

// Replace executes the command (a path and its arguments) in place of this
// process, and leaves the state for TakeFaultState. To everybody else that is
// kill -9 and a restart: memory, connections and locks are gone without a word.
// Only the process's number stays, so that whoever supervises it need not know.
// It returns only when it fails.
func (f Folder) Replace(command []string, state []byte) error {
	if err := os.WriteFile(f.join(faultState), state, 0o600); err != nil {
		return f.unusable(err)
	}
	err := syscall.Exec(command[0], append([]string{"miniforge"}, command[1:]...), os.Environ()) //nolint:gosec // this very program
	return fmt.Errorf("run %s: %w", command[0], err)
}

const faultState = "fault.state"

// TakeFaultState returns what Replace left, once: a later start begins anew.
func (f Folder) TakeFaultState() ([]byte, error) {
	state, err := os.ReadFile(f.join(faultState))
	if err != nil {
		return nil, f.unusable(err)
	}
	return state, os.Remove(f.join(faultState))
}
