package sfn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A machine is a state machine.
type machine struct {
	ARN        string            `json:"arn"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Definition string            `json:"definition"` // key in definitions
	Role       string            `json:"role"`
	Logging    logging           `json:"logging"`
	Tracing    bool              `json:"tracing"`
	Encryption encryption        `json:"encryption"`
	Created    time.Time         `json:"created"`
	Updated    time.Time         `json:"updated"`
	Revision   string            `json:"revision,omitempty"` // "" until the first update, as on AWS
	Deleting   bool              `json:"deleting,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Versions   int64             `json:"versions,omitempty"` // number of the last one
}

// A logging says which events go to which log group.
type logging struct {
	Level string `json:"level,omitempty"`
	Data  bool   `json:"data,omitempty"`
	Group string `json:"group,omitempty"` // ARN, ends in ":*"
}

type encryption struct {
	Key   string `json:"key,omitempty"`
	Reuse *int32 `json:"reuse,omitempty"`
}

func (s *Service) registerMachines(api *wire.API) {
	wire.Handle(api, s.CreateStateMachine,
		wire.Needs(func(c *wire.Call, in *sdk.CreateStateMachineInput) []authz.Access {
			name := "*"
			if in.Name != nil {
				name = *in.Name
			}
			target := c.ARN("states", "stateMachine:"+name)
			all := []authz.Access{{Action: "states:CreateStateMachine", Resource: target}}
			if len(in.Tags) > 0 {
				all = append(all, authz.Access{Action: "states:TagResource", Resource: target})
			}
			if in.Publish {
				all = append(all, publishing(target))
			}
			return append(all, passing(in.RoleArn)...)
		}),
		wire.Members("Name! 1..80", "Definition! 1..1048576", "RoleArn! 1..256", "Type STANDARD|EXPRESS", "VersionDescription 0..256"))
	wire.Handle(api, s.UpdateStateMachine,
		wire.Needs(func(_ *wire.Call, in *sdk.UpdateStateMachineInput) []authz.Access {
			target := "*"
			if in.StateMachineArn != nil {
				target = *in.StateMachineArn
			}
			all := []authz.Access{{Action: "states:UpdateStateMachine", Resource: target}}
			if in.Publish {
				all = append(all, publishing(target))
			}
			return append(all, passing(in.RoleArn)...)
		}),
		wire.Members("StateMachineArn! 1..256", "Definition 1..1048576", "RoleArn 1..256", "VersionDescription 0..256"))
	wire.Handle(api, s.DescribeStateMachine, on(func(in *sdk.DescribeStateMachineInput) *string { return in.StateMachineArn }),
		wire.Members("StateMachineArn! 1..256", "IncludedData ALL_DATA|METADATA_ONLY"))
	wire.Handle(api, s.DeleteStateMachine, on(func(in *sdk.DeleteStateMachineInput) *string { return in.StateMachineArn }),
		wire.Members("StateMachineArn! 1..256"))
	wire.Handle(api, s.ListStateMachines, wire.Members("MaxResults 0..1000", "NextToken 1..1024"))
	wire.Handle(api, s.DescribeStateMachineForExecution, on(func(in *sdk.DescribeStateMachineForExecutionInput) *string { return in.ExecutionArn }),
		wire.Members("ExecutionArn! 1..256", "IncludedData ALL_DATA|METADATA_ONLY"))
}

// publishing is the access to a version that is published along with a change.
func publishing(machine string) authz.Access {
	return authz.Access{Action: "states:PublishStateMachineVersion", Resource: machine}
}

// checkDefinition parses a definition and returns its key in definitions.
func (s *Service) checkDefinition(text string) (string, error) {
	sum := sha256.Sum256([]byte(text))
	key := hex.EncodeToString(sum[:])
	if _, known := s.machines.Load(key); known {
		return key, nil
	}
	m, found := asl.Parse([]byte(text))
	if m == nil {
		var all []string
		for _, d := range append(found, unsupported(m)...) {
			if !d.Warning {
				all = append(all, d.String())
			}
		}
		return "", &types.InvalidDefinition{Message: new("Invalid State Machine Definition: '" + strings.Join(all, ", ") + "'")}
	}
	if bad := unsupported(m); len(bad) > 0 {
		return "", &types.InvalidDefinition{Message: new("Invalid State Machine Definition: '" + bad[0].String() + "'")}
	}
	s.machines.Store(key, m)
	return key, nil
}

// unsupported finds tasks with resources that cannot be worked with.
func unsupported(m *asl.Machine) (found []asl.Diagnostic) {
	if m == nil {
		return nil
	}
	m.Walk(func(st *asl.State) {
		if st.Type == "Task" && !parseResource(st.Resource).supported() {
			found = append(found, asl.Diagnostic{
				Code: "SCHEMA_VALIDATION_FAILED", Location: "/States/" + st.Name + "/Resource",
				Message: fmt.Sprintf("The resource provided %s is not recognized. The value is not a valid resource ARN, or the resource is not available in this region.", st.Resource),
			})
		}
	})
	return found
}

// checkExpress refuses for express machines what has to outlive their memory.
func (s *Service) checkExpress(kind, key string) error {
	v, ok := s.machines.Load(key)
	if !ok || kind != string(types.StateMachineTypeExpress) {
		return nil
	}
	var bad error
	v.(*asl.Machine).Walk(func(st *asl.State) {
		what := ""
		switch r := parseResource(st.Resource); {
		case st.Type != "Task":
		case r.kind == isActivity:
			what = "activities"
		case r.pattern != "":
			what = "'." + r.pattern + "' service integrations"
		}
		if what != "" {
			d := asl.Diagnostic{Code: "SCHEMA_VALIDATION_FAILED", Location: "/States/" + st.Name + "/Resource", Message: "Express state machines do not support " + what}
			bad = &types.InvalidDefinition{Message: new("Invalid State Machine Definition: '" + d.String() + "'")}
		}
	})
	return bad
}

// checkRole has the service try whether it may assume a role.
func (s *Service) checkRole(ctx context.Context, machine, role, region string) error {
	if !strings.HasPrefix(role, "arn:") {
		return invalidARN("Invalid role ARN: " + role)
	}
	if _, err := wire.AssumeRole(ctx, s.Caller, "states", machine, role, "validation", region); err != nil {
		return wire.Errorf("AccessDeniedException", "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the provided role.")
	}
	return nil
}

func checkLogging(in *types.LoggingConfiguration) (l logging, err error) {
	if in == nil {
		return l, nil
	}
	l.Level, l.Data = string(in.Level), in.IncludeExecutionData
	if l.Level == "OFF" {
		l.Level = ""
	}
	bad := func(text string) error {
		return &types.InvalidLoggingConfiguration{Message: new("Invalid Logging Configuration: " + text)}
	}
	if len(in.Destinations) > 1 {
		return l, bad("Must specify exactly one Log Destination.")
	}
	if len(in.Destinations) == 1 {
		if g := in.Destinations[0].CloudWatchLogsLogGroup; g != nil && g.LogGroupArn != nil {
			l.Group = *g.LogGroupArn
		}
		if !strings.HasPrefix(l.Group, "arn:aws:logs:") || !strings.HasSuffix(l.Group, ":*") {
			return l, bad("The ARN of the log group must end with ':*'.")
		}
	}
	if l.Level != "" && l.Group == "" {
		return l, bad("Must specify exactly one Log Destination.")
	}
	return l, nil
}

func checkEncryption(in *types.EncryptionConfiguration) (e encryption, err error) {
	if in == nil || in.Type == types.EncryptionTypeAwsOwnedKey {
		return e, nil
	}
	// Everything is encrypted under the cloud's own key; customer keys are not served.
	return e, &types.InvalidEncryptionConfiguration{Message: new("Invalid Encryption Configuration: only AWS_OWNED_KEY is supported here")}
}

func validation(text string) error { return &types.ValidationException{Message: &text} }

// usable reads a machine that is not being deleted.
func (s *Service) usable(tx *store.Tx, arn string) (machine, error) {
	m, ok, err := machines.Get(tx, arn)
	switch {
	case err != nil:
		return m, err
	case !ok:
		return m, noMachine(arn)
	case m.Deleting:
		return m, &types.StateMachineDeleting{Message: new("State Machine Deleting: '" + arn + "'")}
	}
	return m, nil
}

// DescribeStateMachine tells about a machine, one of its versions, or what an
// alias' ARN leads to.
func (s *Service) DescribeStateMachine(_ context.Context, in *sdk.DescribeStateMachineInput) (*sdk.DescribeStateMachineOutput, error) {
	a, err := s.parseARN(in.StateMachineArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	out := &sdk.DescribeStateMachineOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		m, v, err := s.resolve(tx, a, 0)
		if err != nil {
			return err
		}
		text, _, err := definitions.Get(tx, m.Definition)
		if err != nil {
			return err
		}
		*out = sdk.DescribeStateMachineOutput{
			StateMachineArn: &m.ARN, Name: &m.Name, Type: types.StateMachineType(m.Type), RoleArn: &m.Role, Definition: &text,
			CreationDate: &m.Created, Status: types.StateMachineStatusActive, RevisionId: optional(m.Revision),
			LoggingConfiguration: m.Logging.sdk(), TracingConfiguration: &types.TracingConfiguration{Enabled: m.Tracing},
			EncryptionConfiguration: &types.EncryptionConfiguration{Type: types.EncryptionTypeAwsOwnedKey},
		}
		if v != nil {
			out.StateMachineArn, out.CreationDate, out.Description = &v.ARN, &v.Created, optional(v.Description)
		}
		if m.Deleting {
			out.Status = types.StateMachineStatusDeleting
		}
		if in.IncludedData == types.IncludedDataMetadataOnly {
			out.Definition = new("")
		}
		return nil
	})
}

func (l logging) sdk() *types.LoggingConfiguration {
	c := &types.LoggingConfiguration{Level: types.LogLevelOff, IncludeExecutionData: l.Data}
	if l.Level != "" {
		c.Level = types.LogLevel(l.Level)
	}
	if l.Group != "" {
		c.Destinations = []types.LogDestination{{CloudWatchLogsLogGroup: &types.CloudWatchLogsLogGroup{LogGroupArn: &l.Group}}}
	}
	return c
}

// DescribeStateMachineForExecution tells what an execution was started with.
func (s *Service) DescribeStateMachineForExecution(_ context.Context, in *sdk.DescribeStateMachineForExecutionInput) (*sdk.DescribeStateMachineForExecutionOutput, error) {
	if _, err := s.parseARN(in.ExecutionArn, "execution"); err != nil {
		return nil, err
	}
	out := &sdk.DescribeStateMachineForExecutionOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		x, ok, err := executions.Get(tx, *in.ExecutionArn)
		if err != nil || !ok {
			return first(err, noExecution(*in.ExecutionArn))
		}
		text, _, err := definitions.Get(tx, x.Definition)
		*out = sdk.DescribeStateMachineForExecutionOutput{
			StateMachineArn: &x.Machine, Name: new(x.Machine[strings.LastIndexByte(x.Machine, ':')+1:]), RoleArn: &x.Role, Definition: &text,
			UpdateDate: &x.Updated, RevisionId: optional(x.Revision), LoggingConfiguration: x.Logging.sdk(),
			TracingConfiguration:    &types.TracingConfiguration{},
			EncryptionConfiguration: &types.EncryptionConfiguration{Type: types.EncryptionTypeAwsOwnedKey},
		}
		if in.IncludedData == types.IncludedDataMetadataOnly {
			out.Definition = new("")
		}
		return err
	})
}

// first is the first error there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ListStateMachines lists the machines of a region.
func (s *Service) ListStateMachines(ctx context.Context, in *sdk.ListStateMachinesInput) (*sdk.ListStateMachinesOutput, error) {
	prefix := wire.CallOf(ctx).ARN("states", "stateMachine:")
	from, err := decodeToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListStateMachinesOutput{StateMachines: []types.StateMachineListItem{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range machines.Range(tx, max(from, prefix), store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if len(out.StateMachines) == page(in.MaxResults) {
				out.NextToken = encodeToken(r.Key)
				return nil
			}
			m := r.Value
			out.StateMachines = append(out.StateMachines, types.StateMachineListItem{
				StateMachineArn: &m.ARN, Name: &m.Name, Type: types.StateMachineType(m.Type), CreationDate: &m.Created,
			})
		}
		return nil
	})
}

// Tagged lists the machines and activities of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range machines.Prefix(tx, "arn:aws:states:"+region+":") {
			if err != nil {
				return err
			}
			out[r.Key] = maps.Clone(r.Value.Tags)
		}
		for r, err := range activities.Prefix(tx, "arn:aws:states:"+region+":") {
			if err != nil {
				return err
			}
			out[r.Key] = maps.Clone(r.Value.Tags)
		}
		return nil
	})
}
