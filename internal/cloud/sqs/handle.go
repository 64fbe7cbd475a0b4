package sqs

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// handle is what a receiver deletes the message by: it names this receive.
func handle(m message) string {
	return base64.StdEncoding.EncodeToString([]byte(m.ID + " " + m.Receipt))
}

func parseHandle(h *string) (id, receipt string, err error) {
	b, err := base64.StdEncoding.DecodeString(*h)
	id, receipt, ok := strings.Cut(string(b), " ")
	if err != nil || !ok || uuid.Validate(id) != nil || uuid.Validate(receipt) != nil {
		return "", "", &types.ReceiptHandleIsInvalid{Message: new(`The input receipt handle "` + *h + `" is not a valid receipt handle.`)}
	}
	return id, receipt, nil
}

// DeleteMessage deletes a received message. Deleting it again, or by the
// handle of an earlier receive, is accepted without effect.
func (s *Service) DeleteMessage(ctx context.Context, in *sdk.DeleteMessageInput) (*sdk.DeleteMessageOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteMessageOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error { return s.remove(tx, key, in.ReceiptHandle) })
}

func (s *Service) remove(tx *store.Tx, key string, receiptHandle *string) error {
	q, err := load(tx, key)
	if err != nil {
		return err
	}
	id, receipt, err := parseHandle(receiptHandle)
	if err != nil {
		return err
	}
	m, ok, err := messages.Get(tx, rowKey(key, id))
	switch {
	case err != nil || !ok || m.Receipt != receipt:
		return err
	case q.fifo() && !m.Visible.After(time.Now()):
		return invalidParameter("Value " + *receiptHandle + " for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.")
	case q.fifo():
		tx.OnCommit(func() { s.Signals.Notify(s.arn(key)) }) // for the next of its group
	}
	return drop(tx, key, q.fifo(), m)
}

// DeleteMessageBatch deletes up to ten messages.
func (s *Service) DeleteMessageBatch(ctx context.Context, in *sdk.DeleteMessageBatchInput) (*sdk.DeleteMessageBatchOutput, error) {
	var ids []*string
	for _, e := range in.Entries {
		ids = append(ids, e.Id)
	}
	out := &sdk.DeleteMessageBatchOutput{Successful: []types.DeleteMessageBatchResultEntry{}, Failed: []types.BatchResultErrorEntry{}}
	var err error
	out.Failed, err = s.each(ctx, in.QueueUrl, ids, func(tx *store.Tx, key string, i int) error {
		if in.Entries[i].ReceiptHandle == nil {
			return wire.Errorf("MissingParameter", "The request must contain the parameter ReceiptHandle.")
		}
		return s.remove(tx, key, in.Entries[i].ReceiptHandle)
	}, func(id *string) { out.Successful = append(out.Successful, types.DeleteMessageBatchResultEntry{Id: id}) })
	return out, err
}

// each does one thing for every entry of a batch, in one transaction.
func (s *Service) each(ctx context.Context, url *string, ids []*string, do func(*store.Tx, string, int) error, done func(*string)) ([]types.BatchResultErrorEntry, error) {
	key, err := place(ctx, url)
	if err != nil {
		return nil, err
	}
	if err := checkBatch(ids); err != nil {
		return nil, err
	}
	bad := []types.BatchResultErrorEntry{}
	return bad, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := load(tx, key); err != nil {
			return err
		}
		for i, id := range ids {
			if err := do(tx, key, i); err != nil {
				if bad, err = failed(bad, id, err); err != nil {
					return err
				}
				continue
			}
			done(id)
		}
		return nil
	})
}

// ChangeMessageVisibility hides a received message for a new time from now on;
// 0 makes it visible at once.
func (s *Service) ChangeMessageVisibility(ctx context.Context, in *sdk.ChangeMessageVisibilityInput) (*sdk.ChangeMessageVisibilityOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sdk.ChangeMessageVisibilityOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error { return s.rehide(tx, key, in.ReceiptHandle, in.VisibilityTimeout) })
}

func (s *Service) rehide(tx *store.Tx, key string, receiptHandle *string, seconds int32) error {
	if seconds < 0 || seconds > 43200 {
		return invalidParameter(fmt.Sprintf("Value %d for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be an integer between 0 and 43200.", seconds))
	}
	q, err := load(tx, key)
	if err != nil {
		return err
	}
	id, receipt, err := parseHandle(receiptHandle)
	if err != nil {
		return err
	}
	m, ok, err := messages.Get(tx, rowKey(key, id))
	now := time.Now().UTC()
	switch {
	case err != nil:
		return err
	case !ok || m.Receipt != receipt:
		return invalidParameter("Value " + *receiptHandle + " for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.")
	case !m.Visible.After(now):
		return &types.MessageNotInflight{Message: new("The message referred to isn't in flight.")}
	}
	old := m
	m.Visible = now.Add(time.Duration(seconds) * time.Second)
	tx.OnCommit(func() { s.Signals.Notify(s.arn(key)) })
	return put(tx, key, q.fifo(), m, &old)
}

// ChangeMessageVisibilityBatch does so for up to ten messages.
func (s *Service) ChangeMessageVisibilityBatch(ctx context.Context, in *sdk.ChangeMessageVisibilityBatchInput) (*sdk.ChangeMessageVisibilityBatchOutput, error) {
	var ids []*string
	for _, e := range in.Entries {
		ids = append(ids, e.Id)
	}
	out := &sdk.ChangeMessageVisibilityBatchOutput{Successful: []types.ChangeMessageVisibilityBatchResultEntry{}, Failed: []types.BatchResultErrorEntry{}}
	var err error
	out.Failed, err = s.each(ctx, in.QueueUrl, ids, func(tx *store.Tx, key string, i int) error {
		if in.Entries[i].ReceiptHandle == nil {
			return wire.Errorf("MissingParameter", "The request must contain the parameter ReceiptHandle.")
		}
		return s.rehide(tx, key, in.Entries[i].ReceiptHandle, in.Entries[i].VisibilityTimeout)
	}, func(id *string) {
		out.Successful = append(out.Successful, types.ChangeMessageVisibilityBatchResultEntry{Id: id})
	})
	return out, err
}
