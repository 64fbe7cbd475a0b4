package cloud

import (
	"strings"
	"testing"

	"miniforge/internal/cloud/latency"
)

// TestLatenciesAreOfOperations: a name that no service has would never be drawn
// for, and nobody would notice.
func TestLatenciesAreOfOperations(t *testing.T) {
	known := map[string]bool{".": true} // what no other is said of
	for _, o := range newCloud(t).mux.Operations() {
		known[o.Service+"."+o.Name], known[o.Service+"."] = true, true
	}
	for _, name := range latency.Names() {
		m, err := latency.New(name, 1)
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			continue
		}
		for _, op := range m.Operations() {
			if !known[op] {
				t.Errorf("model %s has a latency of %s, which no service has", name, strings.TrimSuffix(op, "."))
			}
		}
	}
}
