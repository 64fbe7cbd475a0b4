package logs

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
)

// chunk bounds how many events one transaction removes: others wait for it.
const chunk = 1000

// An expiry is the body of a task that removes a stream's expired events.
type expiry struct {
	Region string `json:"region"`
	Group  string `json:"group"`
	Stream string `json:"stream"`
}

// expireAt has a stream looked at again when its oldest event expires. A task
// that waits for the same stream already is replaced.
func (s *Service) expireAt(tx *store.Tx, g *groupRow, stream string, st *streamRow) error {
	body, err := json.Marshal(expiry{g.Region, g.Name, stream})
	if err != nil {
		return err
	}
	due := time.UnixMilli(st.First).Add(time.Duration(g.Retention) * 24 * time.Hour)
	return s.Tasks.Send(tx, event.Task{Kind: expireTask, ID: st.ID, Due: due, Body: body})
}

// expireAll applies a new retention to all streams of a group.
func (s *Service) expireAll(tx *store.Tx, g *groupRow) error {
	all, err := streamsOf(tx, g, "")
	if err != nil {
		return err
	}
	for _, n := range all {
		n.row.Expiring = g.Retention > 0 && n.row.First >= 0
		if n.row.Expiring {
			err = s.expireAt(tx, g, n.name, &n.row)
		} else {
			err = s.Tasks.Finish(tx, expireTask, n.row.ID)
		}
		if err != nil {
			return err
		}
		if err := streams.Put(tx, g.ID+"/"+n.name, n.row); err != nil {
			return err
		}
	}
	return nil
}

// expire removes what has expired of a stream and sets the next date.
func (s *Service) expire(ctx context.Context, t event.Task) event.Result {
	var e expiry
	if err := json.Unmarshal(t.Body, &e); err != nil {
		s.Log.Error("cannot read task", "kind", t.Kind, "error", err)
		return event.Done()
	}
	for {
		var more bool
		err := s.DB.Update(ctx, func(tx *store.Tx) (err error) {
			more, err = s.expireSome(tx, e, t.ID)
			return err
		})
		if err != nil {
			s.Log.Error("cannot remove expired events", "group", e.Group, "stream", e.Stream, "error", err)
			return event.Retry(time.Minute)
		}
		if !more {
			return event.Done()
		}
	}
}

func (s *Service) expireSome(tx *store.Tx, e expiry, streamID string) (more bool, err error) {
	g, ok, err := groups.Get(tx, e.Region+"/"+e.Group)
	if err != nil || !ok || g.Retention == 0 {
		return false, err
	}
	st, ok, err := streams.Get(tx, g.ID+"/"+e.Stream)
	if err != nil || !ok || st.ID != streamID {
		return false, err
	}
	limit := cutoff(time.Now(), g.Retention)
	var gone []string
	st.First = -1
	for r, err := range events.Prefix(tx, st.ID+"/") {
		if err != nil {
			return false, err
		}
		all, err := rawsOf(e.Stream, r.Key[len(st.ID)+1:], r.Value)
		if err != nil {
			return false, err
		}
		// A block goes as a whole, when its last event has expired.
		if n := expired(all, limit); n < len(all) || len(gone) == chunk {
			st.First = timeOf(all[n%len(all)].position)
			more = len(gone) == chunk
			break
		}
		gone = append(gone, r.Key)
		for _, x := range all {
			st.Bytes = max(0, st.Bytes-int64(x.size()))
		}
	}
	for _, k := range gone {
		if err := events.Delete(tx, k); err != nil {
			return false, err
		}
	}
	if st.First < 0 {
		st.Last, st.Bytes = -1, 0
	}
	st.Expiring = st.First >= 0
	if st.Expiring && !more {
		// Replaces this task, whose end then changes nothing.
		err = s.expireAt(tx, &g, e.Stream, &st)
	}
	if err != nil {
		return false, err
	}
	return more, streams.Put(tx, g.ID+"/"+e.Stream, st)
}

// timeOf is the time in a position.
func timeOf(position string) int64 {
	at, _ := strconv.ParseInt(position[:positionSize-19], 10, 64) // made by position
	return at
}

// dropEvents has the events of deleted streams removed in the background.
func (s *Service) dropEvents(tx *store.Tx, streamIDs []string) error {
	for _, id := range streamIDs {
		if err := s.Tasks.Finish(tx, expireTask, id); err != nil {
			return err
		}
		if err := s.Tasks.Send(tx, event.Task{Kind: dropTask, ID: id}); err != nil {
			return err
		}
	}
	return nil
}

// drop removes all events of a deleted stream.
func (s *Service) drop(ctx context.Context, t event.Task) event.Result {
	for {
		n := 0
		err := s.DB.Update(ctx, func(tx *store.Tx) error {
			var gone []string
			for r, err := range events.Prefix(tx, t.ID+"/") {
				if err != nil {
					return err
				}
				if gone = append(gone, r.Key); len(gone) == chunk {
					break
				}
			}
			n = len(gone)
			for _, k := range gone {
				if err := events.Delete(tx, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			s.Log.Error("cannot remove events of a deleted stream", "stream", t.ID, "error", err)
			return event.Retry(time.Minute)
		}
		if n < chunk {
			return event.Done()
		}
	}
}
