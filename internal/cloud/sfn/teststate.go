package sfn

import (
	"context"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerTests(api *wire.API) {
	wire.Handle(api, s.ValidateStateMachineDefinition, wire.Members("Definition! 1..1048576", "Type STANDARD|EXPRESS", "Severity ERROR|WARNING", "MaxResults 0..100"))
	wire.Handle(api, s.TestState, wire.Needs(func(_ *wire.Call, in *sdk.TestStateInput) []authz.Access {
		all := []authz.Access{{Action: "states:TestState", Resource: "*"}}
		if in.RevealSecrets {
			all = append(all, authz.Access{Action: "states:RevealSecrets", Resource: "*"})
		}
		return append(all, passing(in.RoleArn)...)
	}), wire.Members("Definition! 1..1048576", "RoleArn 1..256", "Input 0..262144", "InspectionLevel INFO|DEBUG|TRACE", "StateName 1..80",
		"Context 0..262144", "Mock.Result 0..262144", "Mock.ErrorOutput.Error 0..256", "Mock.ErrorOutput.Cause 0..32768", "Mock.FieldValidationMode STRICT|PRESENT|NONE"))
}

// ValidateStateMachineDefinition tells what is wrong with a definition.
func (s *Service) ValidateStateMachineDefinition(_ context.Context, in *sdk.ValidateStateMachineDefinitionInput) (*sdk.ValidateStateMachineDefinitionOutput, error) {
	m, found := asl.Parse([]byte(*in.Definition))
	found = append(found, unsupported(m)...)
	out := &sdk.ValidateStateMachineDefinitionOutput{
		Result: types.ValidateStateMachineDefinitionResultCodeOk, Truncated: new(false), Diagnostics: []types.ValidateStateMachineDefinitionDiagnostic{},
	}
	limit := 100
	if in.MaxResults > 0 {
		limit = int(in.MaxResults)
	}
	for _, d := range found {
		severity := types.ValidateStateMachineDefinitionSeverityError
		if d.Warning {
			if in.Severity != types.ValidateStateMachineDefinitionSeverityWarning {
				continue
			}
			severity = types.ValidateStateMachineDefinitionSeverityWarning
		} else {
			out.Result = types.ValidateStateMachineDefinitionResultCodeFail
		}
		if len(out.Diagnostics) == limit {
			out.Truncated = new(true)
			break
		}
		out.Diagnostics = append(out.Diagnostics, types.ValidateStateMachineDefinitionDiagnostic{
			Code: new(d.Code), Message: new(d.Message), Location: new(d.Location), Severity: severity,
		})
	}
	return out, nil
}

// TestState carries out one state, without retries of its own: it tells what
// would be tried again, caught or gone on to.
func (s *Service) TestState(ctx context.Context, in *sdk.TestStateInput) (*sdk.TestStateOutput, error) {
	only, err := newTrial(in)
	if err != nil {
		return nil, err
	}
	m, name, err := testMachine(*in.Definition, in.StateName)
	if err != nil {
		return nil, err
	}
	if err := only.tests(m.States[name], in); err != nil {
		return nil, err
	}
	_, input, err := accept(new("test"), in.Input)
	if err != nil {
		return nil, err
	}
	call := wire.CallOf(ctx)
	x := &execution{
		ARN: call.ARN("states", "execution:TestState:test"), Name: "test", Machine: call.ARN("states", "stateMachine:TestState"),
		Region: call.Region, Endpoint: call.Endpoint, Input: *input, Start: s.now(),
	}
	if in.RoleArn != nil {
		x.Role = *in.RoleArn
	}
	m.StartAt = name
	r := s.newRun(x, progress{Status: running, Last: 1, Deadline: x.Start.Add(maxExpress)}, m, false)
	data, err := asl.Decode(*input)
	if err != nil {
		return nil, err // accept has read it before
	}
	r.begin(data, *input)
	r.only = only
	if err := r.loop(ctx, nil); err != nil {
		return nil, err
	}
	return only.answer(r, in.InspectionLevel), nil
}

// testMachine reads a machine or a single state. For a single state the targets
// of its transitions are made up.
func testMachine(definition string, name *string) (*asl.Machine, string, error) {
	m, found := asl.Parse([]byte(definition))
	if m != nil && name != nil {
		if m.States[*name] == nil {
			return nil, "", validation("The state '" + *name + "' does not exist in the definition")
		}
		own := *m
		return &own, *name, nil
	}
	if m == nil {
		m, found = asl.ParseState([]byte(definition))
	}
	if m == nil || m.States[asl.SingleState] == nil {
		var all []string
		for _, d := range found {
			all = append(all, d.String())
		}
		return nil, "", &types.InvalidDefinition{Message: new("Invalid State Machine Definition: '" + strings.Join(all, ", ") + "'")}
	}
	return m, asl.SingleState, nil
}
