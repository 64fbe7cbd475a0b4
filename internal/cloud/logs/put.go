package logs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Limits of one PutLogEvents.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
const (
	maxBatchBytes = 1 << 20
	eventOverhead = 26
	maxSpan       = 24 * time.Hour
	maxFuture     = 2 * time.Hour
	maxPast       = 14 * 24 * time.Hour
)

func (s *Service) registerEvents(api *wire.API) {
	wire.Handle(api, s.PutLogEvents,
		wire.Members("LogGroupName!"+groupRule, "LogStreamName!"+streamRule, "LogEvents! 1..10000", "LogEvents[].Timestamp! 0..", "LogEvents[].Message! 1..", "SequenceToken 1.."),
		onGroup(func(in *sdk.PutLogEventsInput) (g, st *string) { return in.LogGroupName, in.LogStreamName }))
	wire.Handle(api, s.GetLogEvents,
		wire.Members("LogGroupName"+groupRule, identifierRule, "LogStreamName!"+streamRule, "StartTime 0..", "EndTime 0..", "NextToken 1..", "Limit 1..10000"),
		onGroup(func(in *sdk.GetLogEventsInput) (g, st *string) {
			return either(in.LogGroupName, in.LogGroupIdentifier), in.LogStreamName
		}))
	wire.Handle(api, s.FilterLogEvents,
		wire.Members("LogGroupName"+groupRule, identifierRule, "LogStreamNames 1..100", "LogStreamNames[]"+streamRule, "LogStreamNamePrefix"+streamRule,
			"StartTime 0..", "EndTime 0..", "FilterPattern 0..1024", "NextToken 1..", "Limit 1..10000"),
		onGroup(func(in *sdk.FilterLogEventsInput) (g, st *string) {
			return either(in.LogGroupName, in.LogGroupIdentifier), nil
		}))
}

// PutLogEvents appends a batch to a stream, durably, in one transaction.
// Events out of the time range that the service takes are dropped and
// reported. Sequence tokens are ignored, as on AWS since 2023.
func (s *Service) PutLogEvents(ctx context.Context, in *sdk.PutLogEventsInput) (*sdk.PutLogEventsOutput, error) {
	c := wire.CallOf(ctx)
	if err := checkBatch(in.LogEvents); err != nil {
		return nil, err
	}
	for {
		var g groupRow
		if err := s.DB.View(func(tx *store.Tx) (err error) { g, err = s.known(tx, c.Region, *in.LogGroupName); return err }); err != nil {
			return nil, err
		}
		// KMS is asked before the transaction, which must not wait for others.
		first, last, rejected := window(in.LogEvents, time.Now(), g.Retention)
		taken := in.LogEvents[first:last]
		rows, err := s.rowsOf(ctx, &g, taken)
		if err != nil {
			return nil, err
		}
		out, err := s.append(ctx, &g, *in.LogStreamName, taken, rows)
		if out != nil {
			out.RejectedLogEventsInfo = rejected
		}
		if !errors.Is(err, errRemade) {
			return out, err
		}
	}
}

// errRemade says that the group is another than the one whose key was asked for.
var errRemade = errors.New("log group was made again")

func (s *Service) append(ctx context.Context, read *groupRow, stream string, in []types.InputLogEvent, rows [][]byte) (*sdk.PutLogEventsOutput, error) {
	out := &sdk.PutLogEventsOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := s.known(tx, read.Region, read.Name)
		if err != nil {
			return err
		}
		if g.ID != read.ID {
			return errRemade
		}
		st, err := findStream(tx, &g, stream)
		if err != nil {
			return err
		}
		for _, row := range rows {
			n := cut(in)
			first, last := *in[0].Timestamp, *in[n-1].Timestamp
			if err := events.Put(tx, st.ID+"/"+position(first, st.Seq+1), row); err != nil {
				return err
			}
			for _, e := range in[:n] {
				st.Bytes += int64(len(*e.Message) + eventOverhead)
			}
			if st.First < 0 || first < st.First {
				st.First = first
			}
			st.Last, st.Seq, in = max(st.Last, last), st.Seq+int64(n), in[n:]
		}
		if len(rows) > 0 {
			st.Ingested = time.Now().UnixMilli()
		}
		if g.Retention > 0 && !st.Expiring && st.First >= 0 {
			st.Expiring = true
			if err := s.expireAt(tx, &g, stream, &st); err != nil {
				return err
			}
		}
		out.NextSequenceToken = new(sequenceToken(st.Seq))
		return streams.Put(tx, g.ID+"/"+stream, st)
	})
}

// checkBatch applies the rules that reject a whole batch.
func checkBatch(in []types.InputLogEvent) error {
	size := 0
	for i, e := range in {
		size += len(*e.Message) + eventOverhead
		if i > 0 && *e.Timestamp < *in[i-1].Timestamp {
			return invalid("Log events in a single PutLogEvents request must be in chronological order.")
		}
	}
	switch {
	case size > maxBatchBytes:
		return invalid(fmt.Sprintf("Upload too large: %d bytes exceeds limit of %d", size, maxBatchBytes))
	case *in[len(in)-1].Timestamp-*in[0].Timestamp > maxSpan.Milliseconds():
		return invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	}
	return nil
}

// window is the part of a chronological batch, from first to before last, whose
// times are taken, and what is told of the rest.
func window(in []types.InputLogEvent, now time.Time, retention int32) (first, last int, rejected *types.RejectedLogEventsInfo) {
	old := now.Add(-maxPast).UnixMilli()
	expired := cutoff(now, retention)
	future := now.Add(maxFuture).UnixMilli()
	var info types.RejectedLogEventsInfo
	last = len(in)
	for i, e := range in {
		at := *e.Timestamp
		switch {
		case at > future:
			if info.TooNewLogEventStartIndex == nil {
				info.TooNewLogEventStartIndex, last, rejected = new(int32(i)), i, &info
			}
		case at < old:
			info.TooOldLogEventEndIndex, first, rejected = new(int32(i+1)), i+1, &info
		case at < expired:
			info.ExpiredLogEventEndIndex, first, rejected = new(int32(i+1)), i+1, &info
		}
	}
	return first, max(first, last), rejected
}

// cutoff is the time before which events have expired; 0 if none do.
func cutoff(now time.Time, retention int32) int64 {
	if retention == 0 {
		return 0
	}
	return now.Add(-time.Duration(retention) * 24 * time.Hour).UnixMilli()
}

// position orders events of a stream: by time, then by arrival. It has
// positionSize decimal digits.
func position(at, seq int64) string { return fmt.Sprintf("%015d%019d", at, seq) }

const positionSize = 34

// parsePosition undoes position, which it relies on.
func parsePosition(p string) (at, seq int64) {
	seq, _ = strconv.ParseInt(p[positionSize-19:], 10, 64)
	return timeOf(p), seq
}

// rowsOf makes blocks of events, sealed under the group's current key.
func (s *Service) rowsOf(ctx context.Context, g *groupRow, in []types.InputLogEvent) (rows [][]byte, err error) {
	now := time.Now().UnixMilli()
	keys := keyring{s: s, group: g}
	for len(in) > 0 {
		n := cut(in)
		row := beginBlock(now, g.Current, in[:n])
		head := len(row)
		for _, e := range in[:n] {
			row = append(row, *e.Message...)
		}
		if g.Current > 0 {
			k, err := keys.get(ctx, g.Current)
			if err != nil {
				return nil, err
			}
			row = k.SealTail(row, head, []byte(g.ID))
		}
		rows = append(rows, row)
		in = in[n:]
	}
	return rows, nil
}

// A keyring has KMS unwrap a group's data keys, each once for one request.
type keyring struct {
	s     *Service
	group *groupRow
	open  map[int]*envelope.Key
}

func (r *keyring) get(ctx context.Context, number int) (*envelope.Key, error) {
	if k := r.open[number]; k != nil {
		return k, nil
	}
	if number < 1 || number > len(r.group.Keys) {
		return nil, fmt.Errorf("log event is sealed under the unknown data key %d of group %s", number, r.group.Name)
	}
	arn := r.s.groupARN(r.group.Region, r.group.Name)
	k, err := envelope.Unwrap(ctx, r.s.Caller, r.s.keyUser(r.group.Region, arn), sealContext(arn), r.group.Keys[number-1].Wrapped)
	if err != nil {
		return nil, keyError(err, arn)
	}
	if r.open == nil {
		r.open = map[int]*envelope.Key{}
	}
	r.open[number] = k
	return k, nil
}

// message is the message of an event at rest. Its block is opened once.
func (r *keyring) message(ctx context.Context, x *raw) (string, error) {
	if x.in.text == nil {
		k, err := r.get(ctx, x.in.key)
		if err != nil {
			return "", err
		}
		if x.in.text, err = k.Open(x.in.data, []byte(r.group.ID)); err != nil {
			return "", fmt.Errorf("read event of log group %s: %w", r.group.Name, err)
		}
	}
	if x.to > len(x.in.text) {
		return "", errDamaged
	}
	return string(x.in.text[x.from:x.to]), nil
}

func sealContext(groupARN string) map[string]string {
	return map[string]string{"aws:logs:arn": groupARN}
}

// keyError is what the service says when KMS refuses: who calls cannot tell
// why, as on AWS. Failures of KMS itself stay what they are.
func keyError(err error, groupARN string) error {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorFault() == smithy.FaultClient {
		return invalid("The specified KMS key does not exist or is not allowed to be used with Arn '" + groupARN + "'")
	}
	return fmt.Errorf("use KMS key of %s: %w", groupARN, err)
}
