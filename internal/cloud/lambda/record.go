package lambda

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/event/pattern"
)

func hash(b []byte) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(b) // never fails
	return h.Sum32()
}

// matches tells whether a document matches a filter.
func (x *runner) matches(document []byte) bool {
	v, err := pattern.Decode(document)
	return err == nil && slices.ContainsFunc(x.filters, func(p *pattern.Pattern) bool { return p.MatchValue(v) })
}

// call invokes the function for a batch. The mapping is configured by who may
// invoke it; no permission is judged again, as on AWS.
func (x *runner) call(ctx context.Context, payload []byte) (outcome, error) {
	return x.invoke(ctx, request{name: x.name, id: uuid.NewString(), payload: payload})
}

// itemFailures reads a partial batch response: the items that failed, or all
// true where the answer is not one.
func itemFailures(payload []byte) (items []string, all bool) {
	var answer struct {
		Failures []struct {
			Item *string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if s := string(payload); s == "" || s == "null" || s == `""` {
		return nil, false
	}
	if err := json.Unmarshal(payload, &answer); err != nil {
		return nil, true
	}
	for _, f := range answer.Failures {
		if f.Item == nil || *f.Item == "" {
			return nil, true
		}
		items = append(items, *f.Item)
	}
	return items, false
}

// judge is how many records at the front are done.
func (sh *shard) judge(records []streamtypes.Record, out outcome) int {
	if out.failed != "" {
		return 0
	}
	if !sh.partial() {
		return len(records)
	}
	items, all := itemFailures(out.payload)
	if all {
		return 0
	}
	done := len(records)
	for _, item := range items {
		i := slices.IndexFunc(records, func(r streamtypes.Record) bool { return *r.Dynamodb.SequenceNumber == item })
		if i < 0 {
			return 0 // names a record that is not of this batch
		}
		done = min(done, i)
	}
	return done
}

// A streamFailure is what a destination gets of records that were given up.
// https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
type streamFailure struct {
	Request   requestContext `json:"requestContext"`
	Response  *response      `json:"responseContext,omitempty"`
	Version   string         `json:"version"`
	Timestamp string         `json:"timestamp"`
	Batch     streamBatch    `json:"DDBStreamBatchInfo"`
}

type streamBatch struct {
	Shard     string `json:"shardId"`
	Start     string `json:"startSequenceNumber"`
	End       string `json:"endSequenceNumber"`
	First     string `json:"approximateArrivalOfFirstRecord"`
	Last      string `json:"approximateArrivalOfLastRecord"`
	Size      int    `json:"batchSize"`
	StreamARN string `json:"streamArn"`
}

// giveUp tells the destination of records that are done with without success.
// What it does not take after a few tries is logged and dropped, as on AWS:
// the records stay in the stream.
func (sh *shard) giveUp(ctx context.Context, records []streamtypes.Record, condition string, invokes int, out outcome) error {
	sh.Log.Warn("stream records given up", "mapping", sh.UUID, "function", sh.name.function, "condition", condition, "records", len(records))
	c := sh.Config.DestinationConfig
	if c == nil || c.OnFailure == nil || aws.ToString(c.OnFailure.Destination) == "" {
		return nil
	}
	first, last := records[0].Dynamodb, records[len(records)-1].Dynamodb
	arrival := func(t *time.Time) string { return aws.ToTime(t).UTC().Format("2006-01-02T15:04:05.000Z") }
	f := streamFailure{
		Version: "1.0", Timestamp: isoNow(),
		Request: requestContext{ID: uuid.NewString(), Function: sh.name.full(), Condition: condition, Invokes: invokes},
		Batch: streamBatch{
			Shard: sh.id, Start: *first.SequenceNumber, End: *last.SequenceNumber, First: arrival(first.ApproximateCreationDateTime), Last: arrival(last.ApproximateCreationDateTime),
			Size: len(records), StreamARN: *sh.Config.EventSourceArn,
		},
	}
	if out.failed != "" || out.version != "" {
		f.Response = &response{Status: 200, Version: out.version, Error: out.failed}
	}
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	for tries := range 5 {
		var t *target
		if t, err = sh.resolve(sh.name); err == nil {
			err = sh.deliver(ctx, sh.name, *t.version.Config.Role, *c.OnFailure.Destination, string(body), nil)
		}
		if err == nil {
			return nil
		}
		if !pause(ctx, backoff(tries, retryFirst, retryMost)) {
			return ctx.Err()
		}
	}
	sh.undelivered(sh.name, *c.OnFailure.Destination, err)
	return nil
}
