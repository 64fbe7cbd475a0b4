package logs

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// maxPage is how much one answer holds: 1 MB or 10,000 events.
const (
	maxPageBytes  = 1 << 20
	maxPageEvents = 10_000
)

// A page is what GetLogEvents is asked for. Tokens stand between two events:
// "f/<position>" goes on with the first event from there, "b/<position>" with
// those before it.
type page struct {
	span
	down  bool
	limit int
}

// GetLogEvents reads a stream, forward or backward. Both tokens are always
// answered; at the end of the stream the same one comes again.
func (s *Service) GetLogEvents(ctx context.Context, in *sdk.GetLogEventsInput) (*sdk.GetLogEventsOutput, error) {
	c := wire.CallOf(ctx)
	name, err := groupOf(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	p, at, err := pageOf(in)
	if err != nil {
		return nil, err
	}
	var g groupRow
	var found []raw
	err = s.DB.View(func(tx *store.Tx) (err error) {
		if g, err = findGroup(tx, c.Region, name); err != nil {
			return err
		}
		st, err := findStream(tx, &g, *in.LogStreamName)
		if err != nil {
			return err
		}
		p.from = max(p.from, position(cutoff(time.Now(), g.Retention), 0))
		found, err = p.read(tx, *in.LogStreamName, st.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &sdk.GetLogEventsOutput{Events: []types.OutputLogEvent{}}
	keys := keyring{s: s, group: &g}
	for _, r := range found {
		text, err := keys.message(ctx, &r)
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, types.OutputLogEvent{Message: &text, Timestamp: new(timeOf(r.position)), IngestionTime: new(r.in.ingested)})
	}
	forward, backward := at, at
	if len(found) > 0 {
		forward, backward = successor(found[len(found)-1].position), found[0].position
	}
	out.NextForwardToken, out.NextBackwardToken = new("f/"+forward+"/s"), new("b/"+backward+"/s")
	return out, nil
}

// pageOf is what is asked for, and the place that both tokens name when
// nothing is found.
func pageOf(in *sdk.GetLogEventsInput) (p page, at string, err error) {
	p = page{down: !aws.ToBool(in.StartFromHead), limit: int(aws.ToInt32(in.Limit))}
	if p.limit == 0 {
		p.limit = maxPageEvents
	}
	p.from = position(aws.ToInt64(in.StartTime), 0)
	if in.EndTime != nil {
		p.to = position(*in.EndTime, 0)
	}
	at = p.from
	if in.NextToken == nil {
		return p, at, nil
	}
	part := strings.Split(*in.NextToken, "/")
	if len(part) != 3 || part[2] != "s" || !isPosition(part[1]) || part[0] != "f" && part[0] != "b" {
		return p, "", errToken
	}
	at = part[1]
	if p.down = part[0] == "b"; !p.down {
		p.from = max(p.from, at)
	} else if p.to == "" || at < p.to {
		p.to = at
	}
	return p, at, nil
}

func isPosition(s string) bool {
	return len(s) == positionSize && strings.Trim(s, "0123456789") == ""
}

// successor is the place right after an event: sequence numbers never end in
// the last one, so adding one to the decimal number stays in the same time.
func successor(position string) string {
	b := []byte(position)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < '9' {
			b[i]++
			break
		}
		b[i] = '0'
	}
	return string(b)
}

// read returns the page's events, the oldest first.
func (p page) read(tx *store.Tx, name, streamID string) ([]raw, error) {
	if p.to != "" && p.to <= p.from {
		return nil, nil
	}
	var found []raw
	size := 0
	for x, err := range p.span.read(tx, name, streamID, p.down) {
		if err != nil {
			return nil, err
		}
		if size += x.size(); size > maxPageBytes && len(found) > 0 {
			break
		}
		if found = append(found, x); len(found) == p.limit {
			break
		}
	}
	if p.down {
		slices.Reverse(found)
	}
	return found, nil
}
