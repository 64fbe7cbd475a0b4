package check

import (
	"strconv"
	"strings"

	"miniforge/internal/bench"
)

// A Measurement is a figure or a distribution of latencies.
type Measurement struct {
	Name    string         `json:"name"`
	Value   float64        `json:"value,omitempty"`
	Unit    string         `json:"unit,omitempty"` // of Value: "orders/s"
	Latency *bench.Latency `json:"latency,omitempty"`
}

// String is the measurement without its name: "212 orders/s".
func (m Measurement) String() string {
	if m.Latency != nil {
		return m.Latency.String()
	}
	precision := 1
	if m.Value == float64(int64(m.Value)) {
		precision = 0
	}
	return strings.TrimSpace(strconv.FormatFloat(m.Value, 'f', precision, 64) + " " + m.Unit)
}

// Figure records a measured figure.
func (t *T) Figure(name string, value float64, unit string) {
	t.measure(Measurement{Name: name, Value: value, Unit: unit})
}

// Latency records how long something took, many times.
func (t *T) Latency(name string, l bench.Latency) {
	t.measure(Measurement{Name: name, Latency: &l})
}

func (t *T) measure(m Measurement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.measurements = append(t.measurements, m)
}
