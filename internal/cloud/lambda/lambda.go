// Package lambda is AWS Lambda: functions that run as native processes,
// versions and aliases, synchronous and asynchronous invocation, and event
// source mappings of streams and queues.
//
// https://docs.aws.amazon.com/lambda/latest/api/welcome.html
package lambda

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/lambda/sandbox"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/memo"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Caller  wire.Caller
	Signals *event.Signals // of streams, by ARN
	Log     *slog.Logger
	Account string
	// Dir is where the functions' code is kept; it is made when it is not there.
	Dir string
	// Endpoint is the URL under which functions reach the cloud.
	Endpoint func() (string, error)
	// Launcher starts functions; nil: native processes.
	Launcher sandbox.Launcher
	// Settle is how long functions are Pending or InProgress, mappings in
	// transition, and mappings that are made without a look at their source.
	Settle latency.Settle
	// MaxSandboxes bounds the processes of one version; 0: 64.
	MaxSandboxes int
}

// A Service serves the functions of all regions.
type Service struct {
	Options
	code     *codeStore
	pool     *pool
	resolved memo.Map[string, *target] // by region/name/qualifier
	inFlight inFlight
	mappings *runners
	life     context.Context // ends when Run ends
	end      context.CancelFunc
}

// Tables. Keys begin with region/function.
const (
	functions = store.Table[functionRow]("lambda.functions") // region/name
	counters  = store.Table[int64]("lambda.counters")        // region/name -> last version; outlives the function
	versions  = store.Table[versionRow]("lambda.versions")   // region/name/number, 10 digits; $LATEST is 0
	aliases   = store.Table[aliasRow]("lambda.aliases")      // region/name/alias
	policies  = store.Table[policyRow]("lambda.policies")    // region/name/qualifier, "" for the function
	asyncs    = store.Table[asyncRow]("lambda.asyncs")       // region/name/qualifier
	mappings  = store.Table[mappingRow]("lambda.mappings")   // region/uuid
	positions = store.Table[position]("lambda.positions")    // uuid/shard
)

// asyncTask is the kind of tasks that are asynchronous invocations.
const asyncTask = "lambda.async"

// asyncWorkers bounds the asynchronous invocations under way.
const asyncWorkers = 64

// New makes the service. Run must be called for functions to run.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Launcher == nil {
		o.Launcher = sandbox.NewProcesses(o.Log)
	}
	if o.MaxSandboxes == 0 {
		o.MaxSandboxes = 64
	}
	if o.Signals == nil {
		o.Signals = &event.Signals{}
	}
	s := &Service{Options: o, code: &codeStore{dir: o.Dir}}
	s.life, s.end = context.WithCancel(context.Background())
	s.pool = newPool(s.life, o.MaxSandboxes)
	s.mappings = newRunners(s)
	if err := s.tidy(); err != nil { // costs space only
		o.Log.Warn("cannot remove what an earlier process has left of functions", "error", err)
	}
	return s
}

// Run serves event source mappings until ctx ends, and then ends all
// functions: what they have under way is done again by the next process, where
// AWS does it again.
func (s *Service) Run(ctx context.Context) error {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		s.end()
		s.pool.close()
	})
	err := s.mappings.run(ctx)
	if stop() {
		s.end()
		s.pool.close()
	} else {
		<-closed
	}
	if c, ok := s.Launcher.(interface{ Close() }); ok {
		c.Close()
	}
	return err
}

// tidy removes the files that a process which was killed has left.
func (s *Service) tidy() error {
	if err := os.RemoveAll(s.tempDir()); err != nil {
		return fmt.Errorf("remove functions' temporary files: %w", err)
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for functions' code: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if err := s.code.remove(names, s.usedCode); err != nil {
		return fmt.Errorf("remove code that no function uses: %w", err)
	}
	return nil
}

// tempDir holds the temporary folders of running functions.
func (s *Service) tempDir() string { return filepath.Join(s.Dir, "tmp") }

// Register adds the operations and the handler of asynchronous invocations.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{
		Service: "lambda", TagAction: "TagResource", Protocol: wire.RESTJSON,
		Statuses: map[string]int{
			"ResourceNotFoundException": 404, "ResourceConflictException": 409, "ResourceInUseException": 400, "TooManyRequestsException": 429,
			"PreconditionFailedException": 412, "RequestTooLargeException": 413, "RequestEntityTooLargeException": 413, "UnsupportedMediaTypeException": 415,
			"ServiceException": 500, "KMSAccessDeniedException": 502, "KMSDisabledException": 502, "KMSInvalidStateException": 502, "KMSNotFoundException": 502,
			"InvalidRuntimeException": 502, "InvalidZipFileException": 502, "AccessDeniedException": 403, "ProvisionedConcurrencyConfigNotFoundException": 404,
		},
	})
	s.registerFunctions(api)
	s.registerVersions(api)
	s.registerAliases(api)
	s.registerPolicies(api)
	s.registerTags(api)
	s.registerAsync(api)
	s.registerMappings(api)
	s.registerInvoke(api)
	q.Handle(asyncTask, asyncWorkers, s.async)
}

func badValue(text string) error {
	return &types.InvalidParameterValueException{Message: &text, Type: new("User")}
}

func conflict(text string) error {
	return &types.ResourceConflictException{Message: &text, Type: new("User")}
}

func notFound(text string) error {
	return &types.ResourceNotFoundException{Message: &text, Type: new("User")}
}

func stale() error {
	return &types.PreconditionFailedException{
		Message: new("The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"), Type: new("User"),
	}
}

// changed is called in every transaction that changes what an invocation depends on.
func (s *Service) changed(tx *store.Tx) { tx.OnCommit(s.resolved.Forget) }
