package store

import (
	"encoding/json"
	"testing"
	"time"
)

// BenchmarkRow writes and reads what an execution's step is.
func BenchmarkRow(b *testing.B) {
	type step struct {
		ID      int64           `json:"id"`
		Type    string          `json:"type"`
		State   string          `json:"state"`
		At      time.Time       `json:"at"`
		Input   json.RawMessage `json:"input,omitempty"`
		Attempt int             `json:"attempt,omitempty"`
	}
	row := []step{}
	for i := range 4 {
		row = append(row, step{
			ID: int64(i), Type: "TaskStateEntered", State: "ReserveStock", At: time.Now().UTC(),
			Input: json.RawMessage(`{"order_id":"ord_01JD5Z8Q","items":[{"sku":"MF-DRAGON-01","quantity":1}],"payment":{"token":"tok_visa"}}`),
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		text, err := encode(row)
		if err != nil {
			b.Fatal(err)
		}
		var back []step
		if err := decode(text, &back); err != nil {
			b.Fatal(err)
		}
	}
}
