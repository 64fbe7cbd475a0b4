package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A job is the body of the package's tasks.
type job struct {
	Table   string    `json:"table,omitempty"` // region/name
	ID      string    `json:"id,omitempty"`    // of the table; another one under the name is not meant
	Prefix  []byte    `json:"prefix,omitempty"`
	Whole   bool      `json:"whole,omitempty"` // purge: the items as well
	Indexes []byte    `json:"indexes,omitempty"`
	Index   byte      `json:"index,omitempty"`
	Stream  string    `json:"stream,omitempty"`
	Grant   *grantJob `json:"grant,omitempty"`
}

// A grantJob is a grant that is to be retired.
type grantJob struct {
	Region string `json:"region"`
	Table  string `json:"table"`
	KMS    string `json:"kms"`
	ID     string `json:"id"`
}

func (s *Service) send(tx *store.Tx, t event.Task, j job) error {
	b, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("send task %s: %w", t.Kind, err)
	}
	t.Body = b
	return s.Tasks.Send(tx, t)
}

// chunk is how many rows a background task changes in one transaction: others
// wait no longer than that takes.
const chunk = 200

// again is how long a task waits after it failed.
const again = 5 * time.Second

// result ends a task, or has it tried again after an unexpected error.
func (s *Service) result(kind string, err error) event.Result {
	if err == nil {
		return event.Done()
	}
	s.Log.Error("background work of dynamodb failed", "task", kind, "error", err)
	return event.Retry(again)
}

func decodeJob(t event.Task) (j job, err error) {
	if err = json.Unmarshal(t.Body, &j); err != nil {
		err = fmt.Errorf("read task %s: %w", t.Kind, err)
	}
	return j, err
}

func indexNumbers(all []index) iter.Seq[byte] {
	return func(yield func(byte) bool) {
		for _, ix := range all {
			if !yield(ix.No) {
				return
			}
		}
	}
}

// sendPurge has the rows of indexes, and of the table itself, removed.
func (s *Service) sendPurge(tx *store.Tx, t *table, indexes []byte, whole bool) error {
	j := job{Prefix: []byte(t.prefix), Indexes: indexes, Whole: whole}
	if whole && t.Encryption.GrantID != "" {
		j.Grant = &grantJob{t.Region, t.Name, t.Encryption.kmsARN(), t.Encryption.GrantID}
	}
	return s.send(tx, event.Task{Kind: taskPurge}, j)
}

// purge removes what a deleted table or index left.
func (s *Service) purge(ctx context.Context, t event.Task) event.Result {
	j, err := decodeJob(t)
	if err != nil {
		return s.result(t.Kind, err)
	}
	prefix := string(j.Prefix)
	for _, no := range j.Indexes {
		if err := s.drop(ctx, indexRows, prefix+string([]byte{no})); err != nil {
			return s.result(t.Kind, err)
		}
	}
	if j.Whole {
		if err := errors.Join(s.drop(ctx, itemRows, prefix), s.drop(ctx, ttlRows, prefix)); err != nil {
			return s.result(t.Kind, err)
		}
	}
	if j.Grant != nil {
		s.retire(ctx, *j.Grant)
	}
	return event.Done()
}

// drop deletes all rows that begin with prefix, some at a time.
func (s *Service) drop(ctx context.Context, rows store.Table[[]byte], prefix string) error {
	for more := true; more; {
		err := s.DB.Update(ctx, func(tx *store.Tx) error {
			var keys []string
			for r, err := range rows.Prefix(tx, prefix) {
				if err != nil {
					return err
				}
				if keys = append(keys, r.Key); len(keys) == chunk {
					break
				}
			}
			more = len(keys) == chunk
			for _, k := range keys {
				if err := rows.Delete(tx, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	return nil
}

// retire ends the grant on a table's key. A key that is gone has taken its
// grants with it.
func (s *Service) retire(ctx context.Context, g grantJob) {
	as := s.service(&tableRow{Region: g.Region, Name: g.Table})
	_, err := wire.Do[kms.RetireGrantOutput](ctx, s.Caller, as, &kms.RetireGrantInput{KeyId: &g.KMS, GrantId: &g.ID})
	if err == nil {
		return
	}
	level := s.Log.Warn
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "NotFoundException" {
		level = s.Log.Debug
	}
	level("grant of a deleted table was not retired", "key", g.KMS, "error", err)
}

// current is the table of a job in the service's own name; nil if it is gone.
func (s *Service) current(ctx context.Context, j job) (*access, error) {
	var t *table
	err := s.DB.View(func(tx *store.Tx) error {
		r, ok, err := tableRows.Get(tx, j.Table)
		if ok && r.ID == j.ID {
			t = s.derive(r)
		}
		return err
	})
	if err != nil || t == nil {
		return nil, err
	}
	return s.open(ctx, t, s.service(&t.tableRow))
}

// each calls f for every item of the table, in chunks of one transaction each.
// f may write to other rows than those that it is given.
func (s *Service) each(ctx context.Context, a *access, f func(tx *store.Tx, st *state, place string, item attr.Item) error) error {
	from, to := a.prefix, store.PrefixEnd(a.prefix)
	for more := true; more; {
		err := s.DB.Update(ctx, func(tx *store.Tx) error {
			st, err := getState(tx, a.prefix)
			if err != nil {
				return err
			}
			if st == nil || st.version != a.Version {
				return errStale
			}
			var rows []store.Row[[]byte]
			for r, err := range itemRows.Range(tx, from, to) {
				if err != nil {
					return err
				}
				if rows = append(rows, r); len(rows) == chunk {
					break
				}
			}
			more = len(rows) == chunk
			for _, r := range rows {
				item, err := a.item(r.Key, r.Value)
				if err != nil {
					return err
				}
				if err := f(tx, st, r.Key[len(a.prefix):], item); err != nil {
					return err
				}
				from = r.Key + "\x00"
			}
			return putState(tx, a.prefix, st)
		})
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	return nil
}

// whole runs a pass over all items of a job's table, again from the start when
// the table changes meanwhile: passes repeat without harm.
func (s *Service) whole(ctx context.Context, t event.Task, pass func(j job, a *access) error) event.Result {
	j, err := decodeJob(t)
	if err != nil {
		return s.result(t.Kind, err)
	}
	err = latest(func() error {
		a, err := s.current(ctx, j)
		if err != nil || a == nil {
			return err
		}
		return pass(j, a)
	})
	return s.result(t.Kind, err)
}
