package order

import (
	"encoding/json"
	"fmt"
	"time"
)

// timeLayout is RFC 3339 in UTC with a fixed number of digits, so that the
// texts sort as the times do: created_at is the range key of an index.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Time is a point in time as orders store it: UTC, to the millisecond.
type Time struct{ time.Time }

// At is t to the millisecond, in UTC.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }

// String is t in the layout in which it is stored.
func (t Time) String() string { return t.UTC().Format(timeLayout) }

// MarshalJSON writes t in the layout in which it is stored.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// MarshalText writes t in the layout in which it is stored.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads any RFC 3339 time: Step Functions drops trailing zeros.
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return fmt.Errorf("parse time %q: %w", text, err)
	}
	*t = At(parsed)
	return nil
}

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("parse time: %w", err)
	}
	return t.UnmarshalText([]byte(text))
}
