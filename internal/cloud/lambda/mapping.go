package lambda

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event/pattern"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A mappingRow is an event source mapping at rest.
type mappingRow struct {
	UUID     string                                `json:"uuid"`
	Region   string                                `json:"region"`
	Function functionRef                           `json:"function"`
	Enabled  bool                                  `json:"enabled"`
	Config   types.EventSourceMappingConfiguration `json:"config"`
	Tags     map[string]string                     `json:"tags,omitempty"`
	// Ready is when the last change is in effect, Begin when the source is
	// looked at after it. Transition is the state until it is ready.
	Ready      time.Time `json:"ready"`
	Begin      time.Time `json:"begin,omitzero"`
	Transition string    `json:"transition,omitempty"`
	Result     string    `json:"result"` // LastProcessingResult
	// Version changes with each update, so that a runner knows it is stale.
	Version string `json:"version"`
}

// A functionRef is a name at rest.
type functionRef struct {
	Function  string `json:"function"`
	Qualifier string `json:"qualifier,omitempty"`
}

const noRecords = "No records processed"

func (s *Service) mappingARN(region, id string) string {
	return "arn:aws:lambda:" + region + ":" + s.Account + ":event-source-mapping:" + id
}

func (m *mappingRow) target(account string) name {
	return name{region: m.Region, account: account, function: m.Function.Function, qualifier: m.Function.Qualifier}
}

func (m *mappingRow) key() string { return m.Region + "/" + m.UUID }

// kind is the service of the source: "dynamodb" or "sqs".
func (m *mappingRow) kind() string { return kindOf(aws.ToString(m.Config.EventSourceArn)) }

func kindOf(arn string) string {
	p := strings.Split(arn, ":")
	switch {
	case len(p) >= 6 && p[2] == "dynamodb" && strings.Contains(p[5], "/stream/"), len(p) > 6 && p[2] == "dynamodb":
		return "dynamodb"
	case len(p) == 6 && p[2] == "sqs":
		return "sqs"
	}
	return ""
}

// describe is the mapping as AWS tells it; transition is a state that it is
// said to pass through.
func (s *Service) describe(m *mappingRow, transition string) types.EventSourceMappingConfiguration {
	c := m.Config
	state := "Disabled"
	if m.Enabled {
		state = "Enabled"
	}
	if transition != "" {
		state = transition
	} else if time.Now().Before(m.Ready) {
		state = m.Transition
	}
	c.State, c.StateTransitionReason, c.LastProcessingResult = &state, new("User action"), new(m.Result)
	c.EventSourceMappingArn = new(s.mappingARN(m.Region, m.UUID))
	return c
}

func (s *Service) registerMappings(api *wire.API) {
	limits := []string{
		"BatchSize 1..10000", "MaximumBatchingWindowInSeconds 0..300", "ParallelizationFactor 1..10", "MaximumRecordAgeInSeconds -1..604800", "MaximumRetryAttempts -1..10000",
		"FunctionResponseTypes 0..1", "FunctionResponseTypes[] ReportBatchItemFailures", "TumblingWindowInSeconds 0..900", "ScalingConfig.MaximumConcurrency 2..1000", "KMSKeyArn" + arnRule,
	}
	wire.Bind(api, "POST /2015-03-31/event-source-mappings", s.CreateEventSourceMapping, wire.Status(202), wire.Needs(creatingMapping),
		wire.Members(append([]string{nameRule, "StartingPosition TRIM_HORIZON|LATEST|AT_TIMESTAMP"}, limits...)...))
	wire.Bind(api, "GET /2015-03-31/event-source-mappings", s.ListEventSourceMappings, wire.QueryParam("EventSourceArn", "EventSourceArn"),
		wire.QueryParam("FunctionName", "FunctionName"), wire.QueryParam("Marker", "Marker"), wire.QueryParam("MaxItems", "MaxItems"), wire.Members("MaxItems 1..10000"))
	wire.Bind(api, "GET /2015-03-31/event-source-mappings/{UUID}", s.GetEventSourceMapping,
		wire.Needs(func(c *wire.Call, in *sdk.GetEventSourceMappingInput) []authz.Access {
			return s.onMapping(c, in.UUID, nil)
		}))
	wire.Bind(api, "PUT /2015-03-31/event-source-mappings/{UUID}", s.UpdateEventSourceMapping, wire.Status(202), wire.Members(limits...),
		wire.Needs(func(c *wire.Call, in *sdk.UpdateEventSourceMappingInput) []authz.Access {
			return s.onMapping(c, in.UUID, in.FunctionName)
		}))
	wire.Bind(api, "DELETE /2015-03-31/event-source-mappings/{UUID}", s.DeleteEventSourceMapping, wire.Status(202),
		wire.Needs(func(c *wire.Call, in *sdk.DeleteEventSourceMappingInput) []authz.Access {
			return s.onMapping(c, in.UUID, nil)
		}))
}

// functionKey is the condition key of the function that a mapping invokes.
const functionKey = "lambda:FunctionArn"

// creatingMapping is the access to a mapping that has no ARN yet. Which
// function it may be for is a matter of lambda:FunctionArn.
//
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
func creatingMapping(c *wire.Call, in *sdk.CreateEventSourceMappingInput) []authz.Access {
	a := authz.Access{Action: "lambda:CreateEventSourceMapping", Resource: "*", Context: map[string][]string{functionKey: {functionARN(c, in.FunctionName)}}}
	all := []authz.Access{a}
	if len(in.Tags) > 0 {
		all = append(all, authz.Access{Action: "lambda:TagResource", Resource: c.ARN("lambda", "event-source-mapping:*"), Context: a.Context})
	}
	return all
}

// onMapping is the access to a mapping; function is the one that it is to be
// for, if that changes.
func (s *Service) onMapping(c *wire.Call, id, function *string) []authz.Access {
	a := authz.Access{Action: "lambda:" + c.Op, Resource: s.mappingARN(c.Region, aws.ToString(id))}
	if function != nil {
		a.Context = map[string][]string{functionKey: {functionARN(c, function)}}
		return []authz.Access{a}
	}
	_ = s.DB.View(func(tx *store.Tx) error { // one that cannot be read has no function, as for the operation
		if m, err := findMapping(tx, c.Region, id); err == nil {
			a.Context = map[string][]string{functionKey: {aws.ToString(m.Config.FunctionArn)}}
		}
		return nil
	})
	return []authz.Access{a}
}

// functionARN is the ARN of a function by any of its names.
func functionARN(c *wire.Call, of *string) string {
	_, fn, qualifier := split(aws.ToString(of))
	return name{region: c.Region, account: c.Account, function: fn}.qualified(qualifier)
}

// CreateEventSourceMapping has a function invoked for what comes on a stream or queue.
func (s *Service) CreateEventSourceMapping(ctx context.Context, in *sdk.CreateEventSourceMappingInput) (*sdk.CreateEventSourceMappingOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	m := mappingRow{UUID: uuid.NewString(), Region: n.region, Function: functionRef{n.function, n.qualifier}, Enabled: in.Enabled == nil || *in.Enabled, Tags: in.Tags, Result: noRecords}
	m.Config = types.EventSourceMappingConfiguration{
		UUID: &m.UUID, EventSourceArn: in.EventSourceArn, FunctionArn: new(n.full()), StartingPosition: in.StartingPosition,
		StartingPositionTimestamp: in.StartingPositionTimestamp,
	}
	if err := m.defaults(in.StartingPosition); err != nil {
		return nil, err
	}
	if err := m.apply(update(in)); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	var v versionRow
	err = s.DB.View(func(tx *store.Tx) (err error) {
		v, err = findQualified(tx, n)
		return sourceless(err)
	})
	if err != nil {
		return nil, err
	}
	if err := s.probe(ctx, n, &v, &m); err != nil {
		return nil, err
	}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if err := m.unique(tx); err != nil {
			return err
		}
		return s.putMapping(tx, &m, "Creating")
	})
	if err != nil {
		return nil, err
	}
	return as[sdk.CreateEventSourceMappingOutput](s.describe(&m, "Creating")), nil
}

func sourceless(err error) error {
	if isGone(err) {
		return badValue("Function does not exist")
	}
	return err
}

// defaults sets what a kind of source has by default.
func (m *mappingRow) defaults(start types.EventSourcePosition) error {
	c := &m.Config
	switch m.kind() {
	case "dynamodb":
		switch start {
		case "":
			return badValue("1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.")
		case types.EventSourcePositionAtTimestamp:
			return badValue("Unsupported starting position for arn type: " + *c.EventSourceArn)
		}
		c.BatchSize, c.MaximumRetryAttempts, c.MaximumRecordAgeInSeconds = new(int32(100)), new(int32(-1)), new(int32(-1))
		c.ParallelizationFactor, c.BisectBatchOnFunctionError, c.TumblingWindowInSeconds = new(int32(1)), new(false), new(int32(0))
		c.DestinationConfig = &types.DestinationConfig{OnFailure: &types.OnFailure{}}
	case "sqs":
		if start != "" {
			return badValue("StartingPosition is not valid for SQS event sources.")
		}
		c.BatchSize = new(int32(10))
	default:
		if c.EventSourceArn == nil {
			return badValue("Unrecognized event source, must be kinesis, dynamodb stream, sqs, or mq.")
		}
		return badValue("Unrecognized event source.")
	}
	c.MaximumBatchingWindowInSeconds, c.FunctionResponseTypes = new(int32(0)), []types.FunctionResponseType{}
	return nil
}

// update is the part of creating that updating does as well.
func update(in *sdk.CreateEventSourceMappingInput) *sdk.UpdateEventSourceMappingInput {
	return &sdk.UpdateEventSourceMappingInput{
		BatchSize: in.BatchSize, BisectBatchOnFunctionError: in.BisectBatchOnFunctionError, DestinationConfig: in.DestinationConfig, FilterCriteria: in.FilterCriteria,
		FunctionResponseTypes: in.FunctionResponseTypes, MaximumBatchingWindowInSeconds: in.MaximumBatchingWindowInSeconds, MaximumRecordAgeInSeconds: in.MaximumRecordAgeInSeconds,
		MaximumRetryAttempts: in.MaximumRetryAttempts, ParallelizationFactor: in.ParallelizationFactor, ScalingConfig: in.ScalingConfig, TumblingWindowInSeconds: in.TumblingWindowInSeconds,
	}
}

// apply sets members that are given and checks the whole.
func (m *mappingRow) apply(in *sdk.UpdateEventSourceMappingInput) error {
	c := &m.Config
	set(&c.BatchSize, in.BatchSize)
	set(&c.MaximumBatchingWindowInSeconds, in.MaximumBatchingWindowInSeconds)
	set(&c.ScalingConfig, in.ScalingConfig)
	if in.FunctionResponseTypes != nil {
		c.FunctionResponseTypes = in.FunctionResponseTypes
	}
	if in.FilterCriteria != nil {
		if c.FilterCriteria = in.FilterCriteria; len(in.FilterCriteria.Filters) == 0 {
			c.FilterCriteria = nil
		}
		if _, err := filtersOf(c.FilterCriteria); err != nil {
			return badValue("Invalid filter pattern definition.")
		}
	}
	if d := in.DestinationConfig; d != nil {
		if d.OnSuccess != nil && d.OnSuccess.Destination != nil || m.kind() == "sqs" {
			return badValue("Unsupported DestinationConfig parameter for given event source mapping type.")
		}
		if d.OnFailure != nil {
			if p := strings.Split(aws.ToString(d.OnFailure.Destination), ":"); d.OnFailure.Destination != nil && *d.OnFailure.Destination != "" && (len(p) < 6 || p[2] != "sqs" && p[2] != "sns") {
				return badValue("The provided destination config DestinationConfig(onSuccess=null, onFailure=OnFailure(destination=" + *d.OnFailure.Destination + ")) is invalid.")
			}
			c.DestinationConfig = &types.DestinationConfig{OnFailure: d.OnFailure}
		}
	}
	if m.kind() == "sqs" {
		if in.MaximumRetryAttempts != nil || in.BisectBatchOnFunctionError != nil || in.ParallelizationFactor != nil || in.MaximumRecordAgeInSeconds != nil {
			return badValue("Unsupported parameter for given event source mapping type.")
		}
		if *c.BatchSize > 10 && *c.MaximumBatchingWindowInSeconds == 0 {
			return badValue("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")
		}
		return nil
	}
	set(&c.MaximumRetryAttempts, in.MaximumRetryAttempts)
	set(&c.MaximumRecordAgeInSeconds, in.MaximumRecordAgeInSeconds)
	set(&c.BisectBatchOnFunctionError, in.BisectBatchOnFunctionError)
	set(&c.ParallelizationFactor, in.ParallelizationFactor)
	if in.TumblingWindowInSeconds != nil && *in.TumblingWindowInSeconds > 0 {
		return badValue("Tumbling windows are not supported here.")
	}
	if age := *c.MaximumRecordAgeInSeconds; age != -1 && age < 60 {
		return badValue(fmt.Sprintf("1 validation error detected: Value '%d' at 'maximumRecordAgeInSeconds' failed to satisfy constraint: Member must be -1 or have value greater than or equal to 60", age))
	}
	return nil
}

// filtersOf compiles filters; a record must match one of them.
func filtersOf(c *types.FilterCriteria) ([]*pattern.Pattern, error) {
	if c == nil {
		return nil, nil
	}
	var all []*pattern.Pattern
	for _, f := range c.Filters {
		p, err := pattern.Compile(aws.ToString(f.Pattern))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// unique refuses a second mapping of the same source and function.
func (m *mappingRow) unique(tx *store.Tx) error {
	for r, err := range mappings.Prefix(tx, m.Region+"/") {
		if err != nil {
			return err
		}
		o := r.Value
		if o.UUID == m.UUID || o.Function.Function != m.Function.Function || aws.ToString(o.Config.EventSourceArn) != aws.ToString(m.Config.EventSourceArn) {
			continue
		}
		what := "The event source arn"
		if m.kind() == "sqs" {
			return conflict(fmt.Sprintf("An event source mapping with SQS arn (\" %s \") and function (\" %s \") already exists. Please update or delete the existing mapping with UUID %s", *m.Config.EventSourceArn, m.Function.Function, o.UUID))
		}
		return conflict(fmt.Sprintf("%s (\" %s \") and function (\" %s \") provided mapping already exists. Please update or delete the existing mapping with UUID %s", what, *m.Config.EventSourceArn, m.Function.Function, o.UUID))
	}
	return nil
}

func (s *Service) putMapping(tx *store.Tx, m *mappingRow, transition string) error {
	m.Version, m.Ready, m.Transition = uuid.NewString(), time.Now().Add(s.Settle.Of(latency.MappingChanged)), transition
	m.Begin = m.Ready.Add(s.Settle.Of(latency.MappingBeginning))
	m.Config.LastModified = new(time.Now().Truncate(time.Millisecond))
	row := *m
	tx.OnCommit(func() { s.mappings.changed(row.key()) })
	return mappings.Put(tx, m.key(), row)
}

// idleMapping finds a mapping for a change, which one under way refuses.
func idleMapping(tx *store.Tx, region string, id *string, verb string) (mappingRow, error) {
	m, err := findMapping(tx, region, id)
	if err == nil && time.Now().Before(m.Ready) {
		err = &types.ResourceInUseException{Message: new("Cannot " + verb + " the event source mapping because it is in use.")}
	}
	return m, err
}

func findMapping(tx *store.Tx, region string, id *string) (mappingRow, error) {
	m, ok, err := mappings.Get(tx, region+"/"+*id)
	if err == nil && !ok {
		err = notFound("The resource you requested does not exist.")
	}
	return m, err
}

// GetEventSourceMapping tells a mapping.
func (s *Service) GetEventSourceMapping(ctx context.Context, in *sdk.GetEventSourceMappingInput) (*sdk.GetEventSourceMappingOutput, error) {
	var m mappingRow
	err := s.DB.View(func(tx *store.Tx) (err error) { m, err = findMapping(tx, wire.CallOf(ctx).Region, in.UUID); return err })
	if err != nil {
		return nil, err
	}
	return as[sdk.GetEventSourceMappingOutput](s.describe(&m, "")), nil
}

// ListEventSourceMappings lists mappings, all or those of a source or function.
func (s *Service) ListEventSourceMappings(ctx context.Context, in *sdk.ListEventSourceMappingsInput) (*sdk.ListEventSourceMappingsOutput, error) {
	var n name
	var err error
	if in.FunctionName != nil {
		if n, err = lookup(ctx, in.FunctionName, nil); err != nil {
			return nil, err
		}
	}
	from, err := openMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	region := wire.CallOf(ctx).Region
	out := &sdk.ListEventSourceMappingsOutput{EventSourceMappings: []types.EventSourceMappingConfiguration{}}
	p := pager{limit: limitOf(in.MaxItems, 100)}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range mappings.Range(tx, max(from, region+"/"), store.PrefixEnd(region+"/")) {
			if err != nil {
				return err
			}
			m := r.Value
			if in.EventSourceArn != nil && *in.EventSourceArn != aws.ToString(m.Config.EventSourceArn) ||
				in.FunctionName != nil && (n.function != m.Function.Function || n.qualifier != "" && n.qualifier != m.Function.Qualifier) {
				continue
			}
			if p.full(r.Key) {
				out.NextMarker = p.next
				return nil
			}
			out.EventSourceMappings = append(out.EventSourceMappings, s.describe(&m, ""))
		}
		return nil
	})
}

// UpdateEventSourceMapping changes a mapping. Where it reads on stays.
func (s *Service) UpdateEventSourceMapping(ctx context.Context, in *sdk.UpdateEventSourceMappingInput) (*sdk.UpdateEventSourceMappingOutput, error) {
	c := wire.CallOf(ctx)
	var m mappingRow
	err := s.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if m, err = idleMapping(tx, c.Region, in.UUID, "update"); err != nil {
			return err
		}
		if in.FunctionName != nil {
			n, err := lookup(ctx, in.FunctionName, nil)
			if err != nil {
				return err
			}
			if _, err := findQualified(tx, n); err != nil {
				return sourceless(err)
			}
			m.Function, m.Config.FunctionArn = functionRef{n.function, n.qualifier}, new(n.full())
			if err := m.unique(tx); err != nil {
				return err
			}
		}
		if in.Enabled != nil {
			m.Enabled = *in.Enabled
		}
		if err := m.apply(in); err != nil {
			return err
		}
		return s.putMapping(tx, &m, "Updating")
	})
	if err != nil {
		return nil, err
	}
	return as[sdk.UpdateEventSourceMappingOutput](s.describe(&m, "Updating")), nil
}

// DeleteEventSourceMapping ends a mapping.
func (s *Service) DeleteEventSourceMapping(ctx context.Context, in *sdk.DeleteEventSourceMappingInput) (*sdk.DeleteEventSourceMappingOutput, error) {
	c := wire.CallOf(ctx)
	var m mappingRow
	err := s.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if m, err = idleMapping(tx, c.Region, in.UUID, "delete"); err != nil {
			return err
		}
		var shards []string
		for r, err := range positions.Prefix(tx, m.UUID+"/") {
			if err != nil {
				return err
			}
			shards = append(shards, r.Key)
		}
		for _, k := range shards {
			if err := positions.Delete(tx, k); err != nil {
				return err
			}
		}
		tx.OnCommit(func() { s.mappings.changed(m.key()) })
		return mappings.Delete(tx, m.key())
	})
	if err != nil {
		return nil, err
	}
	return as[sdk.DeleteEventSourceMappingOutput](s.describe(&m, "Deleting")), nil
}

// partial tells whether the function reports single items as failed.
func (m *mappingRow) partial() bool {
	return slices.Contains(m.Config.FunctionResponseTypes, types.FunctionResponseTypeReportBatchItemFailures)
}
