package sqs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// ReceiveMessage hands out up to ten messages, waiting for the first if asked.
func (s *Service) ReceiveMessage(ctx context.Context, in *sdk.ReceiveMessageInput) (*sdk.ReceiveMessageOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	switch {
	case in.MaxNumberOfMessages < 0 || in.MaxNumberOfMessages > 10:
		return nil, invalidParameter(fmt.Sprintf("Value %d for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", in.MaxNumberOfMessages))
	case in.WaitTimeSeconds < 0 || in.WaitTimeSeconds > 20:
		return nil, invalidParameter(fmt.Sprintf("Value %d for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.", in.WaitTimeSeconds))
	case in.VisibilityTimeout < 0 || in.VisibilityTimeout > 43200:
		return nil, invalidParameter(fmt.Sprintf("Value %d for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided.", in.VisibilityTimeout))
	}
	system, err := systemNames(in)
	if err != nil {
		return nil, err
	}
	q, err := s.queue(key)
	if err != nil {
		return nil, err
	}
	wait := choose(ctx, "WaitTimeSeconds", in.WaitTimeSeconds, q.seconds("ReceiveMessageWaitTimeSeconds"))
	hide := choose(ctx, "VisibilityTimeout", in.VisibilityTimeout, q.seconds("VisibilityTimeout"))
	// Subscribed before looking: what is sent in between wakes us.
	wake, cancel := s.Signals.Subscribe(s.arn(key))
	defer cancel()
	deadline := time.Now().Add(wait)
	for {
		got, next, err := s.take(ctx, key, max(1, int(in.MaxNumberOfMessages)), hide)
		if err != nil {
			return nil, err
		}
		if len(got) > 0 || !time.Now().Before(deadline) {
			return s.hand(ctx, got, in.MessageAttributeNames, system)
		}
		until := deadline
		if !next.IsZero() && next.Before(until) {
			until = next
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// choose is the seconds that the request gives, even if they are none, or else
// the queue's.
func choose(ctx context.Context, name string, given int32, queues time.Duration) time.Duration {
	if given > 0 || queues > 0 && has(wire.CallOf(ctx).Body, name) {
		return time.Duration(given) * time.Second
	}
	return queues
}

// has tells whether a request's body has a member: the SDK's types do not tell
// 0 from nothing.
func has(body []byte, name string) bool {
	if !bytes.Contains(body, []byte(`"`+name+`"`)) {
		return false
	}
	var members map[string]json.RawMessage
	return json.Unmarshal(body, &members) == nil && members[name] != nil && string(members[name]) != "null"
}

// systemNames are the system attributes that a receiver asks for.
func systemNames(in *sdk.ReceiveMessageInput) (names []string, err error) {
	for _, n := range in.AttributeNames { //nolint:staticcheck // deprecated, and still what many clients send
		names = append(names, string(n))
	}
	for _, n := range in.MessageSystemAttributeNames {
		names = append(names, string(n))
	}
	known := types.MessageSystemAttributeName("").Values()
	for _, n := range names {
		if !slices.Contains(known, types.MessageSystemAttributeName(n)) {
			return nil, &types.InvalidAttributeName{Message: new("Unknown Attribute " + n + ".")}
		}
	}
	return names, nil
}

// take makes up to n messages invisible for the caller, in one transaction if
// there are any. next is when one that is hidden now becomes visible.
func (s *Service) take(ctx context.Context, key string, n int, hide time.Duration) (got []message, next time.Time, err error) {
	found := false
	err = s.DB.View(func(tx *store.Tx) error {
		q, err := load(tx, key)
		if err != nil {
			return err
		}
		ids, at, err := visible(tx, key, q, 1, time.Now())
		found, next = len(ids) > 0, at
		return err
	})
	if err != nil || !found {
		return nil, next, err
	}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if err := ctx.Err(); err != nil {
			return err // nobody is there any more to receive
		}
		got, next, err = s.takeNow(tx, key, n, hide)
		return err
	})
	return got, next, err
}

func (s *Service) takeNow(tx *store.Tx, key string, n int, hide time.Duration) (got []message, next time.Time, err error) {
	q, err := load(tx, key)
	if err != nil {
		return nil, next, err
	}
	now := time.Now().UTC()
	// Again while all that was visible turned out to be a dead letter or too
	// old: what is behind them may be good. Each round removes what it met.
	for len(got) == 0 {
		ids, at, err := visible(tx, key, q, n, now)
		if next = at; err != nil || len(ids) == 0 {
			return nil, next, err
		}
		for _, id := range ids {
			m, err := s.receive(tx, key, q, id, hide, now)
			if err != nil {
				return nil, next, err
			}
			if m != nil {
				got = append(got, *m)
			}
		}
	}
	return got, next, nil
}

// visible lists up to n messages that can be received now, in order. Of a
// message group of a FIFO queue nothing is handed out while one is in flight.
func visible(tx *store.Tx, key string, q queue, n int, now time.Time) (ids []string, next time.Time, err error) {
	blocked := map[string]bool{}
	for r, err := range slots.Prefix(tx, key+"\x00") {
		if err != nil {
			return nil, next, err
		}
		v := r.Value
		switch {
		case v.Visible.After(now):
			blocked[v.Group] = true
			if next.IsZero() || v.Visible.Before(next) {
				next = v.Visible
			}
			if !q.fifo() {
				return ids, next, nil // in order of time: all that follow are hidden too
			}
		case q.fifo() && blocked[v.Group]:
		default:
			if ids = append(ids, v.ID); len(ids) == n {
				return ids, next, nil
			}
		}
	}
	return ids, next, nil
}

// receive marks one message as received, or moves it to the dead-letter queue
// when it was received often enough, or drops it when it is too old: then
// there is none.
func (s *Service) receive(tx *store.Tx, key string, q queue, id string, hide time.Duration, now time.Time) (*message, error) {
	m, ok, err := messages.Get(tx, rowKey(key, id))
	if err == nil && !ok {
		err = fmt.Errorf("message %s of %s has a slot and no row", id, key)
	}
	if err != nil {
		return nil, err
	}
	if q.expired(m.Sent, now) {
		return nil, drop(tx, key, q.fifo(), m)
	}
	if r, ok := q.redrive(); ok && m.Receives >= int(r.Max) {
		target, _ := keyOfARN(r.Target)
		if dlq, found, err := queues.Get(tx, target); err != nil || found {
			if err != nil {
				return nil, err
			}
			return nil, s.transfer(tx, key, target, s.arn(key), q, &dlq, m, now)
		}
	}
	old := m
	if m.Receives++; m.First.IsZero() {
		m.First = now
	}
	m.Visible, m.Receipt = now.Add(hide), uuid.NewString()
	return &m, put(tx, key, q.fifo(), m, &old)
}

// transfer moves a message to another queue as it is: id and body stay, as does
// its seal. source is what it will name as its DeadLetterQueueSourceArn.
func (s *Service) transfer(tx *store.Tx, from, to, source string, q queue, target *queue, m message, now time.Time) error {
	if err := drop(tx, from, q.fifo(), m); err != nil {
		return err
	}
	m.Source, m.Visible, m.Receipt = source, now, ""
	if target.fifo() {
		target.Sequence++
		m.Sequence = target.Sequence
		if err := queues.Put(tx, to, *target); err != nil {
			return err
		}
	}
	tx.OnCommit(func() { s.Signals.Notify(s.arn(to)) })
	return put(tx, to, target.fifo(), m, nil)
}

// hand opens received messages for the caller. When KMS refuses, they become
// visible again after their time-out, as on AWS.
func (s *Service) hand(ctx context.Context, got []message, attributes, system []string) (*sdk.ReceiveMessageOutput, error) {
	out := &sdk.ReceiveMessageOutput{}
	open := s.opener(ctx)
	for _, m := range got {
		c, err := open(m)
		if err != nil {
			return nil, err
		}
		x := types.Message{
			MessageId: &m.ID, Body: &c.Body, MD5OfBody: new(md5Hex(c.Body)), ReceiptHandle: new(handle(m)),
			MessageAttributes: wanted(c.Attributes, attributes), Attributes: systemAttributes(m, c, system),
		}
		x.MD5OfMessageAttributes = md5OfAttributes(x.MessageAttributes)
		out.Messages = append(out.Messages, x)
	}
	return out, nil
}

func systemAttributes(m message, c content, names []string) map[string]string {
	all := map[string]string{
		"SenderId": m.Sender, "SentTimestamp": millis(m.Sent), "ApproximateReceiveCount": strconv.Itoa(m.Receives), "ApproximateFirstReceiveTimestamp": millis(m.First),
	}
	for name, v := range map[string]string{traceHeader: c.Trace, "MessageGroupId": m.Group, "MessageDeduplicationId": m.Dedup, "DeadLetterQueueSourceArn": m.Source} {
		if v != "" {
			all[name] = v
		}
	}
	if m.Sequence > 0 {
		all["SequenceNumber"] = fmt.Sprintf("%020d", m.Sequence)
	}
	out := map[string]string{}
	for name, v := range all {
		if slices.Contains(names, "All") || slices.Contains(names, name) {
			out[name] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
