package resource

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/graph"
)

// mappingAPI is what an EventSourceMapping asks of Lambda.
type mappingAPI interface {
	ListEventSourceMappings(context.Context, *lambda.ListEventSourceMappingsInput, ...func(*lambda.Options)) (*lambda.ListEventSourceMappingsOutput, error)
	GetEventSourceMapping(context.Context, *lambda.GetEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.GetEventSourceMappingOutput, error)
	CreateEventSourceMapping(context.Context, *lambda.CreateEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.CreateEventSourceMappingOutput, error)
	UpdateEventSourceMapping(context.Context, *lambda.UpdateEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.UpdateEventSourceMappingOutput, error)
	DeleteEventSourceMapping(context.Context, *lambda.DeleteEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.DeleteEventSourceMappingOutput, error)
	listTagsAPI
}

var _ mappingAPI = (*lambda.Client)(nil)

// An EventSourceMapping hands the records of a table's stream to a function.
//
// Lambda chooses its id. It is found by table and function, of which there can
// be only one, and told ours by its own tag. The source cannot be changed: a
// table made anew has a new stream, so the mapping of the old one is deleted
// and another one made, which loses nothing, as the old stream is closed.
type EventSourceMapping struct {
	Lambda     mappingAPI
	Owner      Owner
	Table      *Table
	Alias      *Alias
	OnFailure  *Queue // gets the metadata of records that were given up
	Filter     string // event pattern that a record must match
	BatchSize  int32
	MaxRetries int32
	MaxAge     time.Duration

	id    string
	state string
}

func (m *EventSourceMapping) ID() string {
	return "lambda/mapping/" + m.Table.Name + "/" + m.Alias.Function.Name
}

func (m *EventSourceMapping) Needs() []graph.Resource {
	return []graph.Resource{m.Table, m.Alias, m.OnFailure}
}

// UUID is the id that Lambda chose, or "" before the mapping exists.
func (m *EventSourceMapping) UUID() string { return m.id }

func (m *EventSourceMapping) Observe(ctx context.Context) (graph.Observation, error) {
	m.id, m.state = "", ""
	got, err := m.find(ctx)
	if gone(err) || err == nil && got == nil {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("find", m.ID(), err)
	}
	m.id, m.state = deref(got.UUID), deref(got.State)
	owned, err := m.owned(ctx, got)
	if err != nil {
		return graph.Observation{}, failed("read tags of", m.ID(), err)
	}
	return graph.Observation{Exists: true, Owned: owned, Drift: m.compare(got)}, nil
}

// find returns the mapping of the table's stream, or else that of a former
// stream of a table of this name. It lists without a filter: one by function
// would miss a mapping that was pointed past the alias, and one by stream that
// of a table which is gone.
func (m *EventSourceMapping) find(ctx context.Context) (found *types.EventSourceMappingConfiguration, err error) {
	function, stream := m.Alias.Function.ARN, m.Table.ARN+"/stream/"
	pages := lambda.NewListEventSourceMappingsPaginator(m.Lambda, &lambda.ListEventSourceMappingsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range page.EventSourceMappings {
			to := deref(c.FunctionArn)
			if to != function && !strings.HasPrefix(to, function+":") || !strings.HasPrefix(deref(c.EventSourceArn), stream) {
				continue
			}
			if found == nil || deref(c.EventSourceArn) == m.Table.StreamARN() {
				found = &c
			}
		}
	}
	return found, nil
}

func (m *EventSourceMapping) owned(ctx context.Context, got *types.EventSourceMappingConfiguration) (bool, error) {
	if got.EventSourceMappingArn == nil { // an endpoint from before mappings had tags
		return functionOwned(ctx, m.Lambda, m.Alias.Function)
	}
	out, err := m.Lambda.ListTags(ctx, &lambda.ListTagsInput{Resource: got.EventSourceMappingArn})
	if gone(err) {
		return functionOwned(ctx, m.Lambda, m.Alias.Function)
	} else if err != nil {
		return false, err
	}
	return m.Owner.owns(out.Tags), nil
}

func (m *EventSourceMapping) compare(got *types.EventSourceMappingConfiguration) (d drift) {
	if s := deref(got.State); s == "Deleting" || s == "Disabled" || s == "Disabling" {
		d.add("State", "Enabled", s)
	}
	d.add("FunctionArn", m.Alias.ARN(), deref(got.FunctionArn))
	d.add("EventSourceArn", orUnknown(m.Table.StreamARN()), deref(got.EventSourceArn))
	d.int("BatchSize", int64(m.BatchSize), int64(deref(got.BatchSize)))
	d.int("MaximumRetryAttempts", int64(m.MaxRetries), int64(deref(got.MaximumRetryAttempts)))
	d.int("MaximumRecordAgeInSeconds", int64(m.MaxAge/time.Second), int64(deref(got.MaximumRecordAgeInSeconds)))
	d.bool("BisectBatchOnFunctionError", true, deref(got.BisectBatchOnFunctionError))
	var response, failure, filter string
	if len(got.FunctionResponseTypes) > 0 {
		response = string(got.FunctionResponseTypes[0])
	}
	d.add("FunctionResponseTypes", string(types.FunctionResponseTypeReportBatchItemFailures), response)
	if c := got.DestinationConfig; c != nil && c.OnFailure != nil {
		failure = deref(c.OnFailure.Destination)
	}
	d.add("OnFailure", m.OnFailure.ARN, failure)
	if c := got.FilterCriteria; c != nil && len(c.Filters) == 1 {
		filter = deref(c.Filters[0].Pattern)
	}
	d.json("Filter", m.Filter, filter)
	return d
}

func (m *EventSourceMapping) filter() *types.FilterCriteria {
	return &types.FilterCriteria{Filters: []types.Filter{{Pattern: &m.Filter}}}
}

func (m *EventSourceMapping) destination() *types.DestinationConfig {
	return &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: &m.OnFailure.ARN}}
}

func (m *EventSourceMapping) Create(ctx context.Context) error {
	function, stream := m.Alias.ARN(), m.Table.StreamARN()
	on, age := true, int32(m.MaxAge/time.Second)
	out, err := m.Lambda.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{
		FunctionName: &function, EventSourceArn: &stream, Enabled: &on,
		// LATEST would lose what is written before polling begins, which on
		// AWS is minutes after the mapping reports Enabled.
		StartingPosition: types.EventSourcePositionTrimHorizon,
		BatchSize:        &m.BatchSize, MaximumRetryAttempts: &m.MaxRetries, MaximumRecordAgeInSeconds: &age,
		BisectBatchOnFunctionError: &on,
		FunctionResponseTypes:      []types.FunctionResponseType{types.FunctionResponseTypeReportBatchItemFailures},
		DestinationConfig:          m.destination(),
		FilterCriteria:             m.filter(),
		Tags:                       m.Owner.Tags(),
	})
	if err != nil {
		return failed("create", m.ID(), err)
	}
	m.id = deref(out.UUID)
	return m.enabled(ctx)
}

func (m *EventSourceMapping) enabled(ctx context.Context) error {
	return until(ctx, m.ID()+" enabled", func(ctx context.Context) (bool, error) {
		out, err := m.Lambda.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: &m.id})
		if gone(err) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		return deref(out.State) == "Enabled", nil
	})
}

func (m *EventSourceMapping) Update(ctx context.Context, diffs []graph.Diff) error {
	if m.state == "Deleting" || drifted(diffs, "EventSourceArn") {
		if err := m.Delete(ctx); err != nil {
			return err
		}
		return m.Create(ctx)
	}
	function := m.Alias.ARN()
	on, age := true, int32(m.MaxAge/time.Second)
	_, err := m.Lambda.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{
		UUID: &m.id, FunctionName: &function, Enabled: &on,
		BatchSize: &m.BatchSize, MaximumRetryAttempts: &m.MaxRetries, MaximumRecordAgeInSeconds: &age,
		BisectBatchOnFunctionError: &on,
		FunctionResponseTypes:      []types.FunctionResponseType{types.FunctionResponseTypeReportBatchItemFailures},
		DestinationConfig:          m.destination(),
		FilterCriteria:             m.filter(),
	})
	if err != nil {
		return failed("update", m.ID(), err)
	}
	return m.enabled(ctx)
}

// Delete waits until the mapping is gone: it outlives its function otherwise.
func (m *EventSourceMapping) Delete(ctx context.Context) error {
	return until(ctx, "deletion of "+m.ID(), func(ctx context.Context) (bool, error) {
		if m.state != "Deleting" {
			_, err := m.Lambda.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: &m.id})
			switch {
			case gone(err):
				return true, nil
			case err == nil:
				m.state = "Deleting"
			case !isRace(err): // otherwise busy with a change: ask again
				return false, err
			}
		}
		_, err := m.Lambda.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: &m.id})
		if gone(err) {
			return true, nil
		}
		return false, err
	})
}
