package fault

import (
	"bytes"
	"encoding/json"
	"slices"
)

// A batch is the event of a stream's mapping, as far as order matters.
type batch struct {
	Records []json.RawMessage `json:"Records"`
}

type streamRecord struct {
	Source string `json:"eventSource"`
	Change struct {
		Keys json.RawMessage `json:"Keys"`
	} `json:"dynamodb"`
}

// reorderable reports whether an event is a batch with records of several items.
func reorderable(payload []byte) bool {
	if !bytes.Contains(payload, []byte(`"aws:dynamodb"`)) { // most events are none
		return false
	}
	groups, ok := byItem(payload)
	return ok && len(groups) > 1
}

// reorder puts the items of a batch in the reverse order of their first
// records. The records of one item keep theirs: that much DynamoDB promises,
// while items of different shards reach a function in any order.
func reorder(payload []byte) []byte {
	groups, ok := byItem(payload)
	if !ok {
		return payload
	}
	var all batch
	for _, g := range slices.Backward(groups) {
		all.Records = append(all.Records, g...)
	}
	out, err := json.Marshal(all)
	if err != nil {
		return payload
	}
	return out
}

// byItem divides a batch by item, in the order of their first records.
func byItem(payload []byte) (groups [][]json.RawMessage, ok bool) {
	var b batch
	if json.Unmarshal(payload, &b) != nil {
		return nil, false
	}
	at := map[string]int{}
	for _, raw := range b.Records {
		var r streamRecord
		if json.Unmarshal(raw, &r) != nil || r.Source != "aws:dynamodb" {
			return nil, false
		}
		key := string(r.Change.Keys)
		i, seen := at[key]
		if !seen {
			i = len(groups)
			at[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], raw)
	}
	return groups, true
}
