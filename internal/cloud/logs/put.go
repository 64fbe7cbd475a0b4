package logs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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
		if err := s.DB.View(func(tx *store.Tx) (err error) { g, err = findGroup(tx, c.Region, *in.LogGroupName); return err }); err != nil {
			return nil, err
		}
		// KMS is asked before the transaction, which must not wait for others.
		rows, err := s.rowsOf(ctx, &g, in.LogEvents)
		if err != nil {
			return nil, err
		}
		out, err := s.append(ctx, &g, *in.LogStreamName, in.LogEvents, rows)
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
		g, err := findGroup(tx, read.Region, read.Name)
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
		first, last, rejected := window(in, time.Now(), g.Retention)
		out.RejectedLogEventsInfo = rejected
		for i := first; i < last; i++ {
			at := *in[i].Timestamp
			st.Seq++
			st.Bytes += int64(len(*in[i].Message) + eventOverhead)
			if st.First < 0 || at < st.First {
				st.First = at
			}
			st.Last = max(st.Last, at)
			if err := events.Put(tx, st.ID+"/"+position(at, st.Seq), rows[i]); err != nil {
				return err
			}
		}
		if first < last {
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

// An eventRow is an event at rest: when it came in (8 bytes), the number of the
// data key it is sealed under (a varint; 0: none), and the message.
func eventRow(ingested int64, key int, data []byte) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, len(data)+12), uint64(ingested))
	b = binary.AppendUvarint(b, uint64(key))
	return append(b, data...)
}

func readRow(b []byte) (ingested int64, key int, data []byte, err error) {
	if len(b) < 9 {
		return 0, 0, nil, errors.New("log event at rest is cut off")
	}
	k, n := binary.Uvarint(b[8:])
	if n <= 0 {
		return 0, 0, nil, errors.New("log event at rest is damaged")
	}
	return int64(binary.BigEndian.Uint64(b)), int(k), b[8+n:], nil
}

// rowsOf seals messages under the group's current key.
func (s *Service) rowsOf(ctx context.Context, g *groupRow, in []types.InputLogEvent) ([][]byte, error) {
	now := time.Now().UnixMilli()
	keys := keyring{s: s, group: g}
	rows := make([][]byte, len(in))
	for i, e := range in {
		data := []byte(*e.Message)
		if g.Current > 0 {
			k, err := keys.get(ctx, g.Current)
			if err != nil {
				return nil, err
			}
			data = k.Seal(data, []byte(g.ID))
		}
		rows[i] = eventRow(now, g.Current, data)
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

// message opens the message of an event at rest.
func (r *keyring) message(ctx context.Context, key int, data []byte) (string, error) {
	if key == 0 {
		return string(data), nil
	}
	k, err := r.get(ctx, key)
	if err != nil {
		return "", err
	}
	plain, err := k.Open(data, []byte(r.group.ID))
	if err != nil {
		return "", fmt.Errorf("read event of log group %s: %w", r.group.Name, err)
	}
	return string(plain), nil
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
