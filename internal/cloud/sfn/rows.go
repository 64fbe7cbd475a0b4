package sfn

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"miniforge/internal/cloud/store"
)

// The tables of the service.
const (
	machines    = store.Table[machine]("sfn.machines")          // ARN
	versions    = store.Table[version]("sfn.versions")          // machine ARN, number
	aliases     = store.Table[alias]("sfn.aliases")             // alias ARN
	definitions = store.Table[string]("sfn.definitions")        // SHA-256 -> definition
	executions  = store.Table[execution]("sfn.executions")      // ARN; written at the start only
	progresses  = store.Table[progress]("sfn.progress")         // ARN
	listing     = store.Table[string]("sfn.listing")            // machine, status or "*", start, name -> ARN
	histories   = store.Table[[]*record]("sfn.history")         // ARN, id of the first event -> events of one commit
	threadRows  = store.Table[*thread]("sfn.threads")           // ARN, thread
	tokens      = store.Table[token]("sfn.tokens")              // task token
	activities  = store.Table[activity]("sfn.activities")       // ARN
	queued      = store.Table[queuedTask]("sfn.activity-tasks") // activity ARN, time -> token
)

// An execution is what never changes after its start.
type execution struct {
	ARN        string    `json:"arn"`
	Name       string    `json:"name"`
	Machine    string    `json:"machine"`
	Version    string    `json:"version,omitempty"` // ARNs
	Alias      string    `json:"alias,omitempty"`
	Express    bool      `json:"express,omitempty"`
	Role       string    `json:"role"`
	Region     string    `json:"region"`
	Endpoint   string    `json:"endpoint,omitempty"`
	Definition string    `json:"definition"` // key in definitions
	Revision   string    `json:"revision,omitempty"`
	Updated    time.Time `json:"updated"` // of the definition
	Logging    logging   `json:"logging,omitzero"`
	Input      string    `json:"input"`
	Start      time.Time `json:"start"`
	Trace      string    `json:"trace,omitempty"`
}

// A progress is the part of an execution that every commit writes. Last is the
// id of the last event: whoever appends to the history does it in the same
// transaction as it writes this row.
type progress struct {
	Status    string    `json:"status"`
	Last      int64     `json:"last"`
	Stop      time.Time `json:"stop,omitzero"`
	Output    *string   `json:"output,omitempty"`
	Error     *string   `json:"error,omitempty"`
	Cause     *string   `json:"cause,omitempty"`
	Redrives  int32     `json:"redrives,omitempty"`
	Redriven  time.Time `json:"redriven,omitzero"`
	Redriver  string    `json:"redriver,omitempty"` // client token of the last redrive
	Deadline  time.Time `json:"deadline,omitzero"`  // of the execution
	LogFailed bool      `json:"log_failed,omitempty"`
}

// The statuses of executions.
const (
	running   = "RUNNING"
	succeeded = "SUCCEEDED"
	failed    = "FAILED"
	timedOut  = "TIMED_OUT"
	aborted   = "ABORTED"
)

// The phases of a thread.
const (
	entering  = "enter"    // about to carry out State
	inTask    = "task"     // an effect is under way
	inToken   = "token"    // somebody is to send the outcome
	inSync    = "sync"     // a child execution runs
	waiting   = "wait"     // until Due
	retrying  = "retry"    // until Due
	branching = "branches" // the children run
	done      = "done"     // Output is the branch's
	broken    = "failed"   // the branch has failed
)

// A thread is one line of control: that of the execution ("") or of a branch or
// an iteration (parent's ID, "/", index). It is the unit that is written.
type thread struct {
	ID       string          `json:"id"`
	State    string          `json:"state"`
	Phase    string          `json:"phase"`
	Input    json.RawMessage `json:"input"` // raw input of State
	Entered  time.Time       `json:"entered,omitzero"`
	EntryID  int64           `json:"entry,omitempty"`   // id of the StateEntered event
	Prev     int64           `json:"prev"`              // id of the thread's last event
	Retries  []int           `json:"retries,omitempty"` // by retrier
	Params   json.RawMessage `json:"params,omitempty"`  // of the task
	Token    string          `json:"token,omitempty"`
	Child    string          `json:"child,omitempty"` // execution that is waited for
	Due      time.Time       `json:"due,omitzero"`
	Deadline time.Time       `json:"deadline,omitzero"`
	Beat     time.Duration   `json:"beat,omitempty"`
	BeatBy   time.Time       `json:"beat_by,omitzero"`
	Output   json.RawMessage `json:"output,omitempty"`

	// Of a Parallel or Map state under way.
	Total   int `json:"total,omitempty"`
	Started int `json:"started,omitempty"`
	Ended   int `json:"ended,omitempty"`
	Failed  int `json:"failed,omitempty"`
	Limit   int `json:"limit,omitempty"`

	// Of an iteration of a Map state.
	Item   json.RawMessage `json:"item,omitempty"`
	IsItem bool            `json:"is_item,omitempty"`
	Index  int             `json:"index,omitempty"`

	live live // not stored
}

// A token is a task that waits for SendTaskSuccess or SendTaskFailure.
type token struct {
	Execution string    `json:"execution"`
	Thread    string    `json:"thread"`
	Activity  string    `json:"activity,omitempty"`
	Worker    string    `json:"worker,omitempty"` // that took the activity's task
	Taken     bool      `json:"taken,omitempty"`
	Beat      time.Time `json:"beat,omitzero"` // last heartbeat
	Ended     bool      `json:"ended,omitempty"`
	Output    string    `json:"output,omitempty"`
	Error     string    `json:"error,omitempty"`
	Cause     string    `json:"cause,omitempty"`
	Failed    bool      `json:"failed,omitempty"`
}

func historyKey(arn string, id int64) string {
	n := strconv.FormatInt(id, 10)
	return arn + "\x00" + "000000"[min(len(n), 6):] + n
}

func threadKey(arn, id string) string { return arn + "\x00" + id }

func listingKey(machine, status string, start time.Time, name string) string {
	return fmt.Sprintf("%s\x00%s\x00%020d\x00%s", machine, status, start.UnixNano(), name)
}
