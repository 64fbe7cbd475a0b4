// Package event carries work from the transaction that caused it to whoever
// does it, at least once, over crashes and restarts: deliveries between
// services, retries, timers.
package event

import (
	"context"
	"encoding/json"
	"time"

	"miniforge/internal/cloud/store"
)

// A Task is one piece of work that outlives the process.
type Task struct {
	// Kind names the handler: "events.deliver", "lambda.async", "sfn.timer".
	Kind string `json:"kind"`
	// ID is unique within the kind. Sending a task with the ID of a waiting
	// one replaces it. Empty: one is made.
	ID string `json:"id"`
	// Lane, if not empty, orders tasks: of one kind and lane only one runs at
	// a time, in order of Due and then of sending.
	Lane string `json:"lane,omitempty"`
	// Due is when it is to run; zero means at once.
	Due time.Time `json:"due"`
	// Attempts counts the tries that ended before this one.
	Attempts int `json:"attempts,omitempty"`
	// Sent is when the task was first sent.
	Sent time.Time `json:"sent"`
	// Body is the handler's own.
	Body json.RawMessage `json:"body,omitempty"`
}

// A Result says what becomes of a task after a try.
type Result struct {
	retry     bool
	after     time.Duration
	uncounted bool
}

// Done ends a task.
func Done() Result { return Result{} }

// Retry has the task tried again after d, with one more attempt counted.
func Retry(d time.Duration) Result { return Result{retry: true, after: d} }

// Again has the task done again after d as if this try had never ended, which
// is what a crash looks like to it.
func Again(d time.Duration) Result { return Result{retry: true, after: d, uncounted: true} }

// A Handler does a task of its kind. It runs at least once for each task: it
// must be safe to repeat, or end the task inside its own transaction with
// [Queue.Finish]. When ctx ends the try does not count, and the task is
// done again by the next process.
type Handler func(ctx context.Context, t Task) Result

// A Sender takes work in the course of a transaction.
type Sender interface {
	// Send keeps t as part of tx: it runs if, and only if, tx commits.
	Send(tx *store.Tx, t Task) error
	// Finish ends a task as part of tx, so that its effect and its end are one.
	// A task that is not there is no error.
	Finish(tx *store.Tx, kind, id string) error
}
