package lambda

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/event/pattern"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A position is how far a shard has been done.
type position struct {
	Sequence string `json:"sequence,omitempty"` // of the last record that is done with; "" for none
	Ended    bool   `json:"ended,omitempty"`    // the shard is closed and all of it done
}

// fetchSize is how many records are asked for at a time.
const fetchSize = 1000

// A shard is one shard of a stream under way.
type shard struct {
	*runner
	id       string
	at       position
	iterator string
	waiting  []streamtypes.Record // read, not yet done
}

// serveStream serves all shards, children after their parents, until ctx ends
// or one fails.
func (x *runner) serveStream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	running := map[string]bool{}
	ended := make(chan error)
	for {
		open, err := x.openShards(ctx)
		if err != nil {
			return err
		}
		for _, sh := range open {
			if running[sh.id] {
				continue
			}
			running[sh.id] = true
			wg.Go(func() {
				err := sh.serve(ctx)
				select {
				case ended <- err:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			if err != nil {
				return err
			}
		}
	}
}

// openShards are the shards that are not done and whose parents are.
func (x *runner) openShards(ctx context.Context) ([]*shard, error) {
	as, err := x.role(ctx)
	if err != nil {
		return nil, err
	}
	var all []streamtypes.Shard
	in := &streams.DescribeStreamInput{StreamArn: x.Config.EventSourceArn}
	for {
		out, err := wire.Do[streams.DescribeStreamOutput](ctx, x.Caller, as, in)
		if err != nil {
			return nil, err
		}
		all = append(all, out.StreamDescription.Shards...)
		if in.ExclusiveStartShardId = out.StreamDescription.LastEvaluatedShardId; in.ExclusiveStartShardId == nil {
			break
		}
	}
	at := map[string]position{}
	err = x.DB.View(func(tx *store.Tx) error {
		for _, sh := range all {
			p, ok, err := positions.Get(tx, x.UUID+"/"+*sh.ShardId)
			if err != nil {
				return err
			}
			if ok {
				at[*sh.ShardId] = p
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var open []*shard
	for _, sh := range all {
		known := slices.ContainsFunc(all, func(p streamtypes.Shard) bool { return sh.ParentShardId != nil && *p.ShardId == *sh.ParentShardId })
		if !at[*sh.ShardId].Ended && (!known || at[*sh.ParentShardId].Ended) {
			open = append(open, &shard{runner: x, id: *sh.ShardId, at: at[*sh.ShardId]})
		}
	}
	return open, nil
}

// serve does a shard to its end; nil is the end.
func (sh *shard) serve(ctx context.Context) error {
	signal, cancel := sh.Signals.Subscribe(*sh.Config.EventSourceArn)
	defer cancel()
	for {
		more, err := sh.fetch(ctx)
		if err != nil {
			return err
		}
		if len(sh.waiting) > 0 {
			if more && sh.gather(ctx, signal) {
				continue
			}
			if err := sh.work(ctx); err != nil {
				return err
			}
			continue
		}
		if !more {
			sh.at.Ended = true
			return sh.save(ctx)
		}
		select {
		case <-signal:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gather waits for more records while the batching window of the first lasts;
// it returns true if it should be read again.
func (sh *shard) gather(ctx context.Context, signal <-chan struct{}) bool {
	window := time.Duration(*sh.Config.MaximumBatchingWindowInSeconds) * time.Second
	first := aws.ToTime(sh.waiting[0].Dynamodb.ApproximateCreationDateTime)
	left := time.Until(first.Add(window))
	if window == 0 || len(sh.waiting) >= int(*sh.Config.BatchSize) || left <= 0 {
		return false
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-signal:
		return true
	case <-t.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// fetch reads what is there, up to a batch for each lane; more is false at the
// end of a closed shard.
func (sh *shard) fetch(ctx context.Context) (more bool, err error) {
	want := int(*sh.Config.BatchSize) * int(*sh.Config.ParallelizationFactor)
	for len(sh.waiting) < want {
		as, err := sh.role(ctx)
		if err != nil {
			return true, err
		}
		if sh.iterator == "" {
			if err := sh.seek(ctx, as); err != nil {
				return true, err
			}
		}
		out, err := wire.Do[streams.GetRecordsOutput](ctx, sh.Caller, as, &streams.GetRecordsInput{ShardIterator: &sh.iterator, Limit: new(int32(fetchSize))})
		if isCode(err, "ExpiredIteratorException") {
			sh.iterator = ""
			continue
		}
		if err != nil {
			return true, err
		}
		if out.NextShardIterator == nil {
			sh.waiting = append(sh.waiting, sh.wanted(out.Records)...)
			return false, nil
		}
		sh.iterator = *out.NextShardIterator
		if len(out.Records) == 0 {
			return true, nil
		}
		sh.waiting = append(sh.waiting, sh.wanted(out.Records)...)
	}
	return true, nil
}

// seek finds where to read on: after the last record that is read.
func (sh *shard) seek(ctx context.Context, as wire.As) error {
	in := &streams.GetShardIteratorInput{StreamArn: sh.Config.EventSourceArn, ShardId: &sh.id, ShardIteratorType: streamtypes.ShardIteratorType(sh.Config.StartingPosition)}
	after := sh.at.Sequence
	if n := len(sh.waiting); n > 0 {
		after = *sh.waiting[n-1].Dynamodb.SequenceNumber
	}
	if after != "" {
		in.ShardIteratorType, in.SequenceNumber = streamtypes.ShardIteratorTypeAfterSequenceNumber, &after
	}
	out, err := wire.Do[streams.GetShardIteratorOutput](ctx, sh.Caller, as, in)
	if isCode(err, "TrimmedDataAccessException") {
		in.ShardIteratorType, in.SequenceNumber = streamtypes.ShardIteratorTypeTrimHorizon, nil
		out, err = wire.Do[streams.GetShardIteratorOutput](ctx, sh.Caller, as, in)
	}
	if err != nil {
		return err
	}
	sh.iterator = *out.ShardIterator
	return nil
}

// wanted drops what no filter matches. Where only such records were read, the
// position is not written: reading them again costs less than a commit each.
func (sh *shard) wanted(records []streamtypes.Record) []streamtypes.Record {
	if sh.filters == nil {
		return records
	}
	name := map[string]any{}
	return slices.DeleteFunc(records, func(r streamtypes.Record) bool {
		// Most records are of the wrong kind of change: that is told without their images.
		name["eventName"] = string(r.EventName)
		may := slices.ContainsFunc(sh.filters, func(p *pattern.Pattern) bool { return p.MayMatch(name) })
		return !may || !sh.matches(sh.appendRecord(make([]byte, 0, 2048), &r))
	})
}

func (sh *shard) save(ctx context.Context) error {
	return sh.DB.Update(ctx, func(tx *store.Tx) error {
		m, ok, err := mappings.Get(tx, sh.key())
		if err != nil || !ok || m.Version != sh.Version {
			return err // deleted or changed: whoever serves it now keeps the position
		}
		return positions.Put(tx, sh.UUID+"/"+sh.id, sh.at)
	})
}

// work does what was read and notes how far it got. Records of one item keep
// their order; with a parallelization factor, items are divided into lanes.
func (sh *shard) work(ctx context.Context) error {
	n := min(len(sh.waiting), int(*sh.Config.BatchSize)*int(*sh.Config.ParallelizationFactor))
	records := sh.waiting[:n]
	lanes := divide(records, int(*sh.Config.ParallelizationFactor))
	errs := make([]error, len(lanes))
	var wg sync.WaitGroup
	for i, lane := range lanes {
		wg.Go(func() {
			for batch := range slices.Chunk(lane, int(*sh.Config.BatchSize)) {
				if errs[i] = sh.batch(ctx, batch); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	sh.at.Sequence = *records[n-1].Dynamodb.SequenceNumber
	sh.waiting = slices.Clone(sh.waiting[n:])
	return sh.save(ctx)
}

// batch has the function do records until they are done with: done, or given
// up and told to the destination. It returns an error only when ctx ends.
func (sh *shard) batch(ctx context.Context, records []streamtypes.Record) error {
	for tries := 0; len(records) > 0; {
		if expired := sh.expired(records); expired > 0 {
			if err := sh.giveUp(ctx, records[:expired], "RecordAgeExceeded", tries, outcome{}); err != nil {
				return err
			}
			records = records[expired:]
			continue
		}
		out, err := sh.call(ctx, sh.event(records))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			// Lambda could not run it: throttled, or the function is gone. Does not count.
			sh.problem(err)
			if !pause(ctx, backoff(tries, retryFirst, retryMost)) {
				return ctx.Err()
			}
			if tries++; !retriable(err) {
				return err
			}
			continue
		}
		done := sh.judge(records, out)
		if done == len(records) {
			sh.note("OK")
			return nil
		}
		sh.note("PROBLEM: Function call failed")
		if done > 0 {
			// Progress: what failed is a new batch with tries of its own.
			records, tries = records[done:], 0
		}
		if most := int(*sh.Config.MaximumRetryAttempts); most >= 0 && tries >= most {
			if err := sh.giveUp(ctx, records, "RetryAttemptsExhausted", tries+1, out); err != nil {
				return err
			}
			return nil
		}
		tries++
		if !pause(ctx, backoff(tries-1, retryFirst, retryMost)) {
			return ctx.Err()
		}
		if *sh.Config.BisectBatchOnFunctionError && len(records) > 1 && done == 0 {
			half := (len(records) + 1) / 2
			if err := sh.batch(ctx, records[:half]); err != nil {
				return err
			}
			records, tries = records[half:], 0
		}
	}
	return nil
}

// retriable tells whether time may cure an error of invoking.
func retriable(err error) bool {
	_, throttled := errors.AsType[*types.TooManyRequestsException](err)
	return throttled
}

// expired counts the records at the front that are too old.
func (sh *shard) expired(records []streamtypes.Record) int {
	age := time.Duration(*sh.Config.MaximumRecordAgeInSeconds) * time.Second
	if age < 0 {
		return 0
	}
	n := 0
	for n < len(records) && time.Since(aws.ToTime(records[n].Dynamodb.ApproximateCreationDateTime)) > age {
		n++
	}
	return n
}

// divide deals records into lanes by their item.
func divide(records []streamtypes.Record, factor int) [][]streamtypes.Record {
	if factor <= 1 {
		return [][]streamtypes.Record{records}
	}
	lanes := make([][]streamtypes.Record, factor)
	for _, r := range records {
		i := int(hash(appendItem(nil, r.Dynamodb.Keys)) % uint32(factor))
		lanes[i] = append(lanes[i], r)
	}
	return slices.DeleteFunc(lanes, func(l []streamtypes.Record) bool { return len(l) == 0 })
}
