package logs

import (
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// maxSearched bounds how many events one FilterLogEvents looks at; the rest is
// found with the token, as on AWS.
const maxSearched = 100_000

// A search is a FilterLogEvents under way: events of many streams, merged by time.
type search struct {
	group   groupRow
	streams []namedStream // sorted by id
	from    string        // first position
	to      string        // exclusive; "" unbounded
	pattern *pattern

	lastPosition, lastStream string // after which to go on; "" at the start
}

// FilterLogEvents searches a group, or some of its streams, by time and
// pattern. Events come in order of time.
func (s *Service) FilterLogEvents(ctx context.Context, in *sdk.FilterLogEventsInput) (*sdk.FilterLogEventsOutput, error) {
	q, err := s.newSearch(ctx, in)
	if err != nil {
		return nil, err
	}
	limit := int(aws.ToInt32(in.Limit))
	if limit == 0 {
		limit = maxPageEvents
	}
	out := &sdk.FilterLogEventsOutput{Events: []types.FilteredLogEvent{}, SearchedLogStreams: []types.SearchedLogStream{}}
	keys := keyring{s: s, group: &q.group}
	size := 0
	for searched := 0; ; {
		found, err := s.chunk(q)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			text, err := keys.message(ctx, &r)
			if err != nil {
				return nil, err
			}
			if q.pattern.match(text) {
				if size += len(text) + eventOverhead; len(out.Events) == limit || size > maxPageBytes && len(out.Events) > 0 {
					out.NextToken = sealToken(q.lastPosition + "/" + q.lastStream)
					return out, nil
				}
				out.Events = append(out.Events, filtered(r, text))
			}
			q.lastPosition, q.lastStream = r.position, q.id(r.stream)
		}
		if len(found) < chunk {
			return out, nil
		}
		if searched += len(found); searched >= maxSearched {
			out.NextToken = sealToken(q.lastPosition + "/" + q.lastStream)
			return out, nil
		}
	}
}

func (s *Service) newSearch(ctx context.Context, in *sdk.FilterLogEventsInput) (*search, error) {
	name, err := groupOf(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	if in.LogStreamNames != nil && in.LogStreamNamePrefix != nil {
		return nil, invalid("LogStream names and LogStream name prefix are mutually exclusive parameters.")
	}
	if in.StartTime != nil && in.EndTime != nil && *in.StartTime > *in.EndTime {
		return nil, invalid("startTime must be less than or equal to endTime.")
	}
	q := &search{from: position(aws.ToInt64(in.StartTime), 0)}
	if in.EndTime != nil {
		q.to = position(*in.EndTime+1, 0)
	}
	if q.pattern, err = parsePattern(aws.ToString(in.FilterPattern)); err != nil {
		return nil, err
	}
	after, err := openToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	if after != "" {
		var ok bool
		if q.lastPosition, q.lastStream, ok = strings.Cut(after, "/"); !ok || !isPosition(q.lastPosition) {
			return nil, errToken
		}
	}
	return q, s.DB.View(func(tx *store.Tx) (err error) {
		if q.group, err = findGroup(tx, wire.CallOf(ctx).Region, name); err != nil {
			return err
		}
		q.from = max(q.from, position(cutoff(time.Now(), q.group.Retention), 0))
		return q.choose(tx, in)
	})
}

func (q *search) choose(tx *store.Tx, in *sdk.FilterLogEventsInput) (err error) {
	if in.LogStreamNames == nil {
		q.streams, err = streamsOf(tx, &q.group, aws.ToString(in.LogStreamNamePrefix))
	}
	for _, name := range in.LogStreamNames {
		st, err := findStream(tx, &q.group, name)
		if err != nil {
			return err
		}
		q.streams = append(q.streams, namedStream{name, st})
	}
	q.streams = slices.DeleteFunc(q.streams, func(n namedStream) bool {
		return n.row.First < 0 || position(n.row.Last, n.row.Seq) < q.from || q.to != "" && position(n.row.First, 0) >= q.to
	})
	slices.SortFunc(q.streams, func(a, b namedStream) int { return strings.Compare(a.row.ID, b.row.ID) })
	q.streams = slices.CompactFunc(q.streams, func(a, b namedStream) bool { return a.name == b.name })
	return err
}

func (q *search) id(stream string) string {
	for _, n := range q.streams {
		if n.name == stream {
			return n.row.ID
		}
	}
	return ""
}

// A cursor is the next event of one stream.
type cursor struct {
	head raw
	next func() (raw, error, bool)
	stop func()
}

// chunk reads the next events of all streams, in order of time and then of
// stream. They are opened after the transaction: KMS has its own.
func (s *Service) chunk(q *search) (found []raw, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		var cursors []*cursor
		defer func() {
			for _, c := range cursors {
				c.stop()
			}
		}()
		for _, n := range q.streams {
			c := &cursor{}
			c.next, c.stop = iter.Pull2(span{q.start(n.row.ID), q.to}.read(tx, n.name, n.row.ID, false))
			cursors = append(cursors, c)
			if more, err := c.advance(); err != nil {
				return err
			} else if !more {
				c.stop()
				cursors = cursors[:len(cursors)-1]
			}
		}
		for len(cursors) > 0 && len(found) < chunk {
			i := 0
			for j := range cursors {
				if cursors[j].head.position < cursors[i].head.position {
					i = j
				}
			}
			found = append(found, cursors[i].head)
			more, err := cursors[i].advance()
			if err != nil {
				return err
			}
			if !more {
				cursors[i].stop()
				cursors = slices.Delete(cursors, i, i+1)
			}
		}
		return nil
	})
	return found, err
}

// start is the position of a stream's first event after the last one seen.
func (q *search) start(id string) string {
	from := q.from
	switch {
	case q.lastPosition == "":
	case id > q.lastStream:
		from = max(from, q.lastPosition)
	default:
		from = max(from, successor(q.lastPosition))
	}
	return from
}

func (c *cursor) advance() (more bool, err error) {
	c.head, err, more = c.next()
	return more && err == nil, err
}

func filtered(r raw, text string) types.FilteredLogEvent {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.stream)) // never fails
	return types.FilteredLogEvent{
		LogStreamName: new(r.stream), Timestamp: new(timeOf(r.position)), Message: &text, IngestionTime: new(r.in.ingested),
		EventId: new(fmt.Sprintf("%s%022d", r.position, h.Sum64())),
	}
}
