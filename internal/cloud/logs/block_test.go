package logs

import (
	"fmt"
	"slices"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestOrderOfOverlappingBatches puts batches whose times overlap, with more
// events than a page and longer than a block, and reads them forward, backward,
// by a part of the time, and by a search: always all, in order.
func TestOrderOfOverlappingBatches(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := start(t)
		group := fmt.Sprintf("g%d", time.Now().UnixNano())
		f.group(group, rapid.SampledFrom([]string{"", "arn:aws:kms:us-east-1:123456789012:key/k"}).Draw(rt, "key"))
		f.stream(group, "s")
		base := time.Now().Add(-time.Hour).UnixMilli()
		type ev struct {
			at   int64
			text string
		}
		var model []ev
		for range rapid.IntRange(1, 6).Draw(rt, "batches") {
			times := rapid.SliceOfN(rapid.Int64Range(0, 3*blockSpan), 1, 8).Draw(rt, "times")
			slices.Sort(times)
			var batch []types.InputLogEvent
			for _, d := range times {
				e := ev{base + d, fmt.Sprintf("event %d", len(model))}
				model = append(model, e)
				batch = append(batch, types.InputLogEvent{Timestamp: &e.at, Message: &e.text})
			}
			if _, err := f.PutLogEvents(f.ctx, &sdk.PutLogEventsInput{LogGroupName: &group, LogStreamName: new("s"), LogEvents: batch}); err != nil {
				rt.Fatal(err)
			}
		}
		slices.SortStableFunc(model, func(a, b ev) int { return int(a.at - b.at) })
		from, to := base+rapid.Int64Range(0, 3*blockSpan).Draw(rt, "from"), base+rapid.Int64Range(0, 3*blockSpan).Draw(rt, "to")
		var all, part []string
		for _, e := range model {
			all = append(all, e.text)
			if e.at >= from && e.at < to {
				part = append(part, e.text)
			}
		}
		limit := int32(rapid.IntRange(1, 10).Draw(rt, "limit"))
		read := func(in sdk.GetLogEventsInput) (texts []string) {
			in.LogGroupName, in.LogStreamName, in.Limit = &group, new("s"), &limit
			head := *in.StartFromHead
			for {
				out, err := f.GetLogEvents(f.ctx, &in)
				if err != nil {
					rt.Fatal(err)
				}
				var page []string
				for _, e := range out.Events {
					page = append(page, *e.Message)
				}
				if len(page) == 0 {
					return texts
				}
				if in.NextToken = out.NextForwardToken; head {
					texts = append(texts, page...)
				} else {
					texts = append(page, texts...)
					in.NextToken = out.NextBackwardToken
				}
			}
		}
		for name, got := range map[string][]string{
			"forward": read(sdk.GetLogEventsInput{StartFromHead: new(true)}), "backward": read(sdk.GetLogEventsInput{StartFromHead: new(false)}), "search": f.filter(group, ""),
		} {
			if d := cmp.Diff(all, got); d != "" {
				rt.Fatalf("%s (-want +got):\n%s", name, d)
			}
		}
		if to > from {
			if d := cmp.Diff(part, read(sdk.GetLogEventsInput{StartFromHead: new(true), StartTime: &from, EndTime: &to})); d != "" {
				rt.Fatalf("from %d to %d (-want +got):\n%s", from-base, to-base, d)
			}
		}
	})
}
