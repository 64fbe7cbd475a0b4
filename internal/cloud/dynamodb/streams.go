package dynamodb

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerStreams(api *wire.API) {
	const arnRule = "StreamArn! 37..1024"
	wire.Handle(api, s.ListStreams, wire.Members(`TableName 3..255 [a-zA-Z0-9_.-]+`, "Limit 1..100", "ExclusiveStartStreamArn 37..1024"),
		wire.On(func(c *wire.Call, in *sdk.ListStreamsInput) []string {
			// Judged on all streams of the table that is named, or of all tables.
			name := "*"
			if in.TableName != nil {
				name = s.nameOf(c.Region, in.TableName)
			}
			return []string{s.tableARN(c.Region, name) + "/stream/*"}
		}))
	wire.Handle(api, s.DescribeStream, wire.Members(arnRule, "Limit 1..100", "ExclusiveStartShardId 28..65"),
		onARN(func(in *sdk.DescribeStreamInput) *string { return in.StreamArn }))
	wire.Handle(api, s.GetShardIterator, wire.Members(arnRule, "ShardId! 28..65", "ShardIteratorType! TRIM_HORIZON|LATEST|AT_SEQUENCE_NUMBER|AFTER_SEQUENCE_NUMBER",
		"SequenceNumber 21..40"), onARN(func(in *sdk.GetShardIteratorInput) *string { return in.StreamArn }))
	wire.Handle(api, s.GetRecords, wire.Members("ShardIterator! 1..2048", "Limit 1..1000"),
		onARN(func(in *sdk.GetRecordsInput) *string {
			arn, _, _ := strings.Cut(deref(in.ShardIterator), "|")
			return &arn
		}))
}

func noStream(arn string) error {
	return &types.ResourceNotFoundException{Message: new("Requested resource not found: Stream: " + arn + " not found")}
}

// stream finds a stream by its ARN.
func (s *Service) stream(tx *store.Tx, region, arn string) (streamRow, error) {
	rest, ok := strings.CutPrefix(arn, s.tableARN(region, ""))
	table, label, isStream := strings.Cut(rest, "/stream/")
	if !ok || !isStream {
		return streamRow{}, noStream(arn)
	}
	r, found, err := streamRows.Get(tx, streamKey(region, table, label))
	if err == nil && (!found || r.gone(time.Now())) {
		err = noStream(arn)
	}
	return r, err
}

// gone tells whether a stream ended so long ago that nothing is left of it.
func (r streamRow) gone(now time.Time) bool { return !r.Ended.IsZero() && now.Sub(r.Ended) >= keptFor }

// ListStreams lists the streams of a table or of all tables, those that ended
// within the last day among them.
func (s *Service) ListStreams(ctx context.Context, in *sdk.ListStreamsInput) (*sdk.ListStreamsOutput, error) {
	region := wire.CallOf(ctx).Region
	prefix := region + "/"
	if in.TableName != nil {
		prefix += *in.TableName + "/"
	}
	from := prefix
	if in.ExclusiveStartStreamArn != nil {
		table, label, ok := strings.Cut(strings.TrimPrefix(*in.ExclusiveStartStreamArn, s.tableARN(region, "")), "/stream/")
		if !ok {
			return nil, invalid("Invalid StreamArn: %s", *in.ExclusiveStartStreamArn)
		}
		from = max(from, streamKey(region, table, label)+"\x00")
	}
	limit := 100
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	now := time.Now()
	out := &sdk.ListStreamsOutput{Streams: []types.Stream{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range streamRows.Range(tx, from, store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if r.Value.gone(now) {
				continue
			}
			if len(out.Streams) == limit {
				out.LastEvaluatedStreamArn = out.Streams[limit-1].StreamArn
				return nil
			}
			v := r.Value
			out.Streams = append(out.Streams, types.Stream{StreamArn: new(s.streamARN(v.Region, v.Table, v.Label)), StreamLabel: &v.Label, TableName: &v.Table})
		}
		return nil
	})
}

// sequence is a sequence number as AWS writes it: 21 digits that sort as text.
func sequence(n uint64) string { return fmt.Sprintf("1%020d", n) }

func parseSequence(s string) (uint64, error) {
	if len(s) != 21 || s[0] != '1' {
		return 0, invalid("Invalid SequenceNumber: %s", s)
	}
	n, err := strconv.ParseUint(s[1:], 10, 64)
	if err != nil {
		return 0, invalid("Invalid SequenceNumber: %s", s)
	}
	return n, nil
}

// DescribeStream describes a stream and its shards.
func (s *Service) DescribeStream(ctx context.Context, in *sdk.DescribeStreamInput) (*sdk.DescribeStreamOutput, error) {
	var r streamRow
	err := s.DB.View(func(tx *store.Tx) (err error) {
		r, err = s.stream(tx, wire.CallOf(ctx).Region, *in.StreamArn)
		return err
	})
	if err != nil {
		return nil, err
	}
	d := &types.StreamDescription{
		StreamArn: in.StreamArn, StreamLabel: &r.Label, TableName: &r.Table, StreamViewType: types.StreamViewType(r.View),
		StreamStatus: types.StreamStatusEnabled, CreationRequestDateTime: &r.Created, Shards: []types.Shard{},
		KeySchema: []types.KeySchemaElement{{AttributeName: &r.Schema.Hash, KeyType: types.KeyTypeHash}},
	}
	if r.Schema.Range != "" {
		d.KeySchema = append(d.KeySchema, types.KeySchemaElement{AttributeName: &r.Schema.Range, KeyType: types.KeyTypeRange})
	}
	if !r.Ended.IsZero() {
		d.StreamStatus = types.StreamStatusDisabled
	}
	shards := r.Shards
	if f := in.ShardFilter; f != nil && f.Type == types.ShardFilterTypeChildShards {
		shards = slices.DeleteFunc(slices.Clone(shards), func(h shard) bool { return h.Parent == "" || h.Parent != deref(f.ShardId) })
	}
	if id := in.ExclusiveStartShardId; id != nil {
		shards = slices.DeleteFunc(slices.Clone(shards), func(h shard) bool { return h.ID <= *id })
	}
	limit := 100
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	if len(shards) > limit {
		shards = shards[:limit]
		d.LastEvaluatedShardId = &shards[limit-1].ID
	}
	for _, h := range shards {
		d.Shards = append(d.Shards, h.description())
	}
	return &sdk.DescribeStreamOutput{StreamDescription: d}, nil
}

func (h shard) description() types.Shard {
	out := types.Shard{ShardId: &h.ID, SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: new(sequence(h.First))}}
	if h.Parent != "" {
		out.ParentShardId = &h.Parent
	}
	if h.Last != 0 {
		out.SequenceNumberRange.EndingSequenceNumber = new(sequence(h.Last))
	}
	return out
}

func (r streamRow) shard(id string) (shard, error) {
	i := slices.IndexFunc(r.Shards, func(h shard) bool { return h.ID == id })
	if i < 0 {
		return shard{}, &types.ResourceNotFoundException{Message: new("Requested resource not found: Shard: " + id + " not found")}
	}
	return r.Shards[i], nil
}

// An iterator is a position in a shard. On the wire it follows the stream's
// ARN, which requests with it are judged by; the position in it is a matter
// between the caller and itself.
type iterator struct {
	Shard string `json:"s"`
	Next  uint64 `json:"n"` // sequence number to read from
	At    int64  `json:"t"` // when it was given out, Unix seconds
}

// iteratorLife is how long an iterator can be used.
const iteratorLife = 15 * time.Minute

func (i iterator) String(arn string) string {
	b, _ := json.Marshal(i) // plain members cannot fail
	return arn + "|1|" + base64.StdEncoding.EncodeToString(b)
}

func parseIterator(text string, now time.Time) (arn string, i iterator, err error) {
	p := strings.Split(text, "|")
	bad := invalid("Invalid ShardIterator")
	if len(p) != 3 {
		return "", i, bad
	}
	b, err := base64.StdEncoding.DecodeString(p[2])
	if err != nil || json.Unmarshal(b, &i) != nil {
		return "", i, bad
	}
	if now.Sub(time.Unix(i.At, 0)) > iteratorLife {
		return "", i, &types.ExpiredIteratorException{Message: new("Iterator expired. The iterator was created at time " + time.Unix(i.At, 0).UTC().Format(time.UnixDate) +
			" while right now it is " + now.UTC().Format(time.UnixDate) + " which is further in the future than the tolerated delay of 900000 milliseconds.")}
	}
	return p[0], i, nil
}

// GetShardIterator gives out a position in a shard.
func (s *Service) GetShardIterator(ctx context.Context, in *sdk.GetShardIteratorInput) (*sdk.GetShardIteratorOutput, error) {
	now := time.Now()
	i := iterator{Shard: *in.ShardId, At: now.Unix()}
	err := s.DB.View(func(tx *store.Tx) error {
		r, err := s.stream(tx, wire.CallOf(ctx).Region, *in.StreamArn)
		if err != nil {
			return err
		}
		h, err := r.shard(*in.ShardId)
		if err != nil {
			return err
		}
		i.Next, err = s.position(tx, r, h, in, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &sdk.GetShardIteratorOutput{ShardIterator: new(i.String(*in.StreamArn))}, nil
}

func (s *Service) position(tx *store.Tx, r streamRow, h shard, in *sdk.GetShardIteratorInput, now time.Time) (uint64, error) {
	switch in.ShardIteratorType {
	case types.ShardIteratorTypeTrimHorizon:
		return h.First, nil
	case types.ShardIteratorTypeLatest:
		return s.end(tx, r, h)
	}
	if in.SequenceNumber == nil {
		return 0, invalid("SequenceNumber must be specified when ShardIteratorType is %s", in.ShardIteratorType)
	}
	n, err := parseSequence(*in.SequenceNumber)
	if err != nil {
		return 0, err
	}
	end, err := s.end(tx, r, h)
	if err != nil {
		return 0, err
	}
	if n < h.First || n > end {
		return 0, invalid("Invalid SequenceNumber: %s is not in the range of shard %s", *in.SequenceNumber, h.ID)
	}
	b, ok, err := recordRows.Get(tx, recordKey(r.prefix(), n))
	if err != nil {
		return 0, err
	}
	if at, _ := stamp(b); n < end && (!ok || now.Sub(at) >= keptFor) {
		return 0, &types.TrimmedDataAccessException{Message: new("The operation attempted to read past the oldest stream record in a shard.")}
	}
	if in.ShardIteratorType == types.ShardIteratorTypeAfterSequenceNumber {
		n++
	}
	return n, nil
}

// end is the number after the last record of a shard.
func (s *Service) end(tx *store.Tx, r streamRow, h shard) (uint64, error) {
	if h.Last != 0 {
		return h.Last + 1, nil
	}
	row, ok, err := tableRows.Get(tx, tableKey(r.Region, r.Table))
	if err != nil || !ok {
		return h.First, err
	}
	st, err := getState(tx, s.derive(row).prefix)
	if err != nil || st == nil {
		return h.First, err
	}
	return st.seq + 1, nil
}

// GetRecords reads records from a position on, up to 1,000 or 1 MB.
func (s *Service) GetRecords(ctx context.Context, in *sdk.GetRecordsInput) (*sdk.GetRecordsOutput, error) {
	c := wire.CallOf(ctx)
	now := time.Now()
	arn, i, err := parseIterator(*in.ShardIterator, now)
	if err != nil {
		return nil, err
	}
	limit := 1000
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	var r streamRow
	var h shard
	var rows []store.Row[[]byte]
	err = s.DB.View(func(tx *store.Tx) (err error) {
		if r, err = s.stream(tx, c.Region, arn); err != nil {
			return err
		}
		if h, err = r.shard(i.Shard); err != nil {
			return err
		}
		rows, err = readRecords(tx, r, h, i.Next, limit, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	keys, err := s.recordKeys(ctx, r, rows)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetRecordsOutput{Records: []types.Record{}}
	for _, row := range rows {
		rec, err := decodeRecord(keys, row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		i.Next = binary.BigEndian.Uint64([]byte(row.Key[len(row.Key)-8:])) + 1
		out.Records = append(out.Records, rec.shown(r, row.Key, i.Next-1))
	}
	if h.Last == 0 || i.Next <= h.Last && len(rows) > 0 {
		i.At = now.Unix()
		out.NextShardIterator = new(i.String(arn))
	}
	return out, nil
}

// readRecords collects the rows of records that are not too old.
func readRecords(tx *store.Tx, r streamRow, h shard, from uint64, limit int, now time.Time) (rows []store.Row[[]byte], err error) {
	prefix := r.prefix()
	to := store.PrefixEnd(prefix)
	if h.Last != 0 {
		to = recordKey(prefix, h.Last+1)
	}
	size := 0
	for row, err := range recordRows.Range(tx, recordKey(prefix, max(from, h.First)), to) {
		if err != nil {
			return nil, err
		}
		if at, _ := stamp(row.Value); now.Sub(at) >= keptFor {
			continue
		}
		if size += len(row.Value); len(rows) == limit || size > maxRead && len(rows) > 0 {
			break
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// recordKeys has KMS decrypt the data keys that records need: the last one in
// any case, so that a reader without access to it learns that at once.
func (s *Service) recordKeys(ctx context.Context, r streamRow, rows []store.Row[[]byte]) (map[int]*envelope.Key, error) {
	need := map[int]bool{}
	for _, row := range rows {
		_, sealed := stamp(row.Value)
		no, _ := binary.Uvarint(sealed)
		need[int(no)] = true //nolint:gosec // small
	}
	var keys []dataKey
	for i, k := range r.Keys {
		if need[k.No] || i == len(r.Keys)-1 {
			keys = append(keys, k)
		}
	}
	return s.unwrap(ctx, r.Table, keys, wire.CallOf(ctx).As("dynamodb"))
}
