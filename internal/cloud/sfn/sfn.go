// Package sfn is Step Functions: state machines in the Amazon States Language
// with JSONPath, and their executions, which survive restarts.
//
// https://docs.aws.amazon.com/step-functions/latest/apireference/Welcome.html
package sfn

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/vended"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Caller  wire.Caller
	Signals *event.Signals
	Log     *slog.Logger
	Account string
	// Delivery brings logs to their groups; nil: one of its own.
	Delivery *vended.Delivery
}

// A Service serves the state machines of all regions.
type Service struct {
	Options

	machines sync.Map // key in definitions -> *asl.Machine
	fresh    fresh    // events not yet brought to a log
	effects  atomic.Int64
}

// Busy counts the tasks that executions carry out at this moment: calls of
// functions and services, not waits.
func (s *Service) Busy() int { return int(s.effects.Load()) }

// New makes the service.
func New(o Options) *Service {
	if o.Signals == nil {
		o.Signals = &event.Signals{}
	}
	if o.Delivery == nil {
		o.Delivery = vended.NewDelivery()
	}
	return &Service{Options: o}
}

// maxRuns is how many executions run at a time: more than a process can hold.
// Each is one goroutine, most of the time asleep.
const maxRuns = 1 << 20

// Register adds the operations and task handlers.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{Service: "states", Protocol: wire.JSON10, Target: "AWSStepFunctions", LowerFirst: true})
	s.registerMachines(api)
	s.registerVersions(api)
	s.registerExecutions(api)
	s.registerActivities(api)
	s.registerTags(api)
	s.registerTests(api)
	q.Handle(runKind, maxRuns, s.runTask)
	q.Handle(logKind, 32, s.deliverLog)
	q.Handle(reapKind, 4, s.reapTask)
}

// now is the time as Step Functions keeps it: to the millisecond.
func (s *Service) now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func (s *Service) random() float64 { return rand.Float64() }

func (s *Service) uuid() string { return uuid.NewString() }

// parsed is the machine of a definition that is kept.
func (s *Service) parsed(tx *store.Tx, key string) (*asl.Machine, error) {
	if m, ok := s.machines.Load(key); ok {
		return m.(*asl.Machine), nil
	}
	text, ok, err := definitions.Get(tx, key)
	if err != nil {
		return nil, err
	}
	m, found := asl.Parse([]byte(text))
	if !ok || m == nil {
		return nil, fmt.Errorf("definition %s cannot be read: %v", key, found)
	}
	s.machines.Store(key, m)
	return m, nil
}

// An arn is a state machine's, an execution's or an activity's ARN.
type arn struct {
	full, region string
	kind         string // "stateMachine", "execution", "express", "activity"
	name         string // of the machine or activity
	rest         string // version, alias or execution
}

var nameForm = regexp.MustCompile(`^[^\x00-\x1f\x7f-\x{9f} <>{}\[\]?*"#%\\^|~` + "`" + `$&,;:/]+$`)

func validName(name *string) error {
	if name == nil || utf8.RuneCountInString(*name) > 80 || !nameForm.MatchString(*name) {
		shown := ""
		if name != nil {
			shown = *name
		}
		return &types.InvalidName{Message: new(fmt.Sprintf("Invalid Name: '%s'", shown))}
	}
	return nil
}

func invalidARN(reason string) error {
	return &types.InvalidArn{Message: new("Invalid Arn: '" + reason + "'")}
}

// parseARN reads the ARN of one of the given kinds of things of this account.
func (s *Service) parseARN(text *string, kinds ...string) (arn, error) {
	if text == nil {
		return arn{}, invalidARN("null")
	}
	p := strings.Split(*text, ":")
	switch {
	case len(p) < 7 || p[0] != "arn" || p[2] != "states":
		return arn{}, invalidARN("Invalid ARN prefix: " + *text)
	case p[4] != s.Account:
		return arn{}, invalidARN("Invalid ARN: the account is another: " + *text)
	}
	a := arn{full: *text, region: p[3], kind: p[5], name: p[6], rest: strings.Join(p[7:], ":")}
	if slices.Contains(kinds, a.kind) {
		return a, nil
	}
	return arn{}, invalidARN("Resource type not valid in this context: " + a.kind)
}

// machine is the ARN of the state machine without version or alias.
func (a arn) machine() string { return strings.Join(strings.Split(a.full, ":")[:7], ":") }

// on judges an operation on the ARN it names.
func on[In any](of func(*In) *string) wire.Option {
	return wire.Needs(func(c *wire.Call, in *In) []authz.Access {
		if a := of(in); a != nil && *a != "" {
			return []authz.Access{judged(c, *a)}
		}
		return []authz.Access{{Action: "states:" + c.Op, Resource: "*"}}
	})
}

// judged is the access to what an ARN names. That of a version or an alias is
// the access to the state machine, with the qualifier as a condition key.
//
// https://docs.aws.amazon.com/step-functions/latest/dg/auth-version-alias.html
func judged(c *wire.Call, arn string) authz.Access {
	a := authz.Access{Action: "states:" + c.Op, Resource: arn}
	if _, machine, ok := strings.Cut(arn, ":stateMachine:"); ok {
		if _, qualifier, ok := strings.Cut(machine, ":"); ok {
			a.Resource = strings.TrimSuffix(arn, ":"+qualifier)
			a.Context = map[string][]string{"states:StateMachineQualifier": {qualifier}}
		}
	}
	return a
}

// passing is the access to a role that a state machine is to have.
func passing(role *string) []authz.Access {
	if role == nil || *role == "" {
		return nil
	}
	return []authz.Access{{Action: "iam:PassRole", Resource: *role, Context: map[string][]string{"iam:PassedToService": {"states.amazonaws.com"}}}}
}

func noMachine(arn string) error {
	return &types.StateMachineDoesNotExist{Message: new("State Machine Does Not Exist: '" + arn + "'")}
}

func noExecution(arn string) error {
	return &types.ExecutionDoesNotExist{Message: new("Execution Does Not Exist: '" + arn + "'")}
}

func noResource(arn string) error {
	return &types.ResourceNotFound{Message: new("Resource not found: '" + arn + "'"), ResourceName: &arn}
}

// page is how many items an answer has.
func page(n int32) int {
	if n == 0 {
		return 100
	}
	return int(min(n, 1000))
}

func encodeToken(key string) *string {
	return new(base64.RawURLEncoding.EncodeToString([]byte(key)))
}

// decodeToken reads a token that belongs to the list whose keys begin with prefix.
func decodeToken(t *string, prefix string) (string, error) {
	if t == nil {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*t)
	if err != nil || !strings.HasPrefix(string(b), prefix) {
		return "", &types.InvalidToken{Message: new("Invalid Token: 'Invalid token'")}
	}
	return string(b), nil
}
