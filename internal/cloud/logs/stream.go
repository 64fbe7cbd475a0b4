package logs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A streamRow is a log stream at rest. Times are epoch milliseconds; -1 where
// there is no event.
type streamRow struct {
	ID       string `json:"id"`
	Created  int64  `json:"created"`
	First    int64  `json:"first"`
	Last     int64  `json:"last"`
	Ingested int64  `json:"ingested"`
	Bytes    int64  `json:"bytes"`
	Seq      int64  `json:"seq"`                // of the last event
	Expiring bool   `json:"expiring,omitempty"` // a task for its retention is waiting
}

func (s *Service) registerStreams(api *wire.API) {
	wire.Handle(api, s.CreateLogStream, wire.Members("LogGroupName!"+groupRule, "LogStreamName!"+streamRule),
		onGroup(func(in *sdk.CreateLogStreamInput) (g, st *string) { return in.LogGroupName, in.LogStreamName }))
	wire.Handle(api, s.DeleteLogStream, wire.Members("LogGroupName!"+groupRule, "LogStreamName!"+streamRule),
		onGroup(func(in *sdk.DeleteLogStreamInput) (g, st *string) { return in.LogGroupName, in.LogStreamName }))
	wire.Handle(api, s.DescribeLogStreams, wire.Members("LogGroupName"+groupRule, identifierRule, "LogStreamNamePrefix"+streamRule, "OrderBy LogStreamName|LastEventTime", "NextToken 1..", "Limit 1..50"),
		onGroup(func(in *sdk.DescribeLogStreamsInput) (g, st *string) {
			return either(in.LogGroupName, in.LogGroupIdentifier), nil
		}))
}

// CreateLogStream makes a stream in a group.
func (s *Service) CreateLogStream(ctx context.Context, in *sdk.CreateLogStreamInput) (*sdk.CreateLogStreamOutput, error) {
	return &sdk.CreateLogStreamOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := findGroup(tx, wire.CallOf(ctx).Region, *in.LogGroupName)
		if err != nil {
			return err
		}
		key := g.ID + "/" + *in.LogStreamName
		if _, taken, err := streams.Get(tx, key); err != nil || taken {
			if taken {
				err = &types.ResourceAlreadyExistsException{Message: new("The specified log stream already exists")}
			}
			return err
		}
		return streams.Put(tx, key, streamRow{ID: uuid.NewString(), Created: time.Now().UnixMilli(), First: -1, Last: -1, Ingested: -1})
	})
}

// DeleteLogStream removes a stream at once, and its events in the background.
func (s *Service) DeleteLogStream(ctx context.Context, in *sdk.DeleteLogStreamInput) (*sdk.DeleteLogStreamOutput, error) {
	return &sdk.DeleteLogStreamOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := findGroup(tx, wire.CallOf(ctx).Region, *in.LogGroupName)
		if err != nil {
			return err
		}
		st, err := findStream(tx, &g, *in.LogStreamName)
		if err != nil {
			return err
		}
		if err := s.dropEvents(tx, []string{st.ID}); err != nil {
			return err
		}
		return streams.Delete(tx, g.ID+"/"+*in.LogStreamName)
	})
}

func findStream(tx *store.Tx, g *groupRow, name string) (streamRow, error) {
	st, ok, err := streams.Get(tx, g.ID+"/"+name)
	if err == nil && !ok {
		err = noStream()
	}
	return st, err
}

type namedStream struct {
	name string
	row  streamRow
}

// place orders streams in a list and is what a token points to.
func (n namedStream) place(byTime bool) string {
	if byTime {
		return fmt.Sprintf("%020d/%s", n.row.Last+1, n.name)
	}
	return n.name
}

// DescribeLogStreams lists a group's streams by name or by their last event.
func (s *Service) DescribeLogStreams(ctx context.Context, in *sdk.DescribeLogStreamsInput) (*sdk.DescribeLogStreamsOutput, error) {
	c := wire.CallOf(ctx)
	name, err := groupOf(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	byTime := in.OrderBy == types.OrderByLastEventTime
	if byTime && in.LogStreamNamePrefix != nil {
		return nil, invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	after, err := openToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	var all []namedStream
	err = s.DB.View(func(tx *store.Tx) (err error) {
		g, err := findGroup(tx, c.Region, name)
		if err == nil {
			all, err = streamsOf(tx, &g, aws.ToString(in.LogStreamNamePrefix))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	order := cmp.Compare[string]
	if aws.ToBool(in.Descending) {
		order = func(a, b string) int { return cmp.Compare(b, a) }
	}
	slices.SortFunc(all, func(a, b namedStream) int { return order(a.place(byTime), b.place(byTime)) })
	if after != "" {
		all = slices.DeleteFunc(all, func(n namedStream) bool { return order(n.place(byTime), after) <= 0 })
	}
	limit := int(aws.ToInt32(in.Limit))
	if limit == 0 {
		limit = 50
	}
	out := &sdk.DescribeLogStreamsOutput{LogStreams: []types.LogStream{}}
	if len(all) > limit {
		all = all[:limit]
		out.NextToken = sealToken(all[limit-1].place(byTime))
	}
	for i := range all {
		out.LogStreams = append(out.LogStreams, all[i].describe(s.groupARN(c.Region, name)))
	}
	return out, nil
}

func (n *namedStream) describe(groupARN string) types.LogStream {
	d := types.LogStream{
		LogStreamName: &n.name, CreationTime: &n.row.Created, Arn: new(groupARN + ":log-stream:" + n.name),
		StoredBytes:         new(int64(0)), // of streams AWS tells no size any more
		UploadSequenceToken: new(sequenceToken(n.row.Seq)),
	}
	if n.row.Last >= 0 {
		d.FirstEventTimestamp, d.LastEventTimestamp, d.LastIngestionTime = &n.row.First, &n.row.Last, &n.row.Ingested
	}
	return d
}

// sequenceToken is still answered, though nobody has to send it any more.
func sequenceToken(seq int64) string {
	return "4903958" + strings.Repeat("0", 30) + strconv.FormatInt(1e18+seq, 10)
}

func streamsOf(tx *store.Tx, g *groupRow, prefix string) (all []namedStream, err error) {
	for r, err := range streams.Prefix(tx, g.ID+"/"+prefix) {
		if err != nil {
			return nil, err
		}
		all = append(all, namedStream{strings.TrimPrefix(r.Key, g.ID+"/"), r.Value})
	}
	return all, nil
}
