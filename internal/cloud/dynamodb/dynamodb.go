// Package dynamodb is DynamoDB and DynamoDB Streams: tables, items,
// expressions, indexes, transactions, time to live, streams, and encryption
// under KMS keys.
//
// How rows lie in the store is said in rows.go, what one write does in
// write.go; both are the places to start reading.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/Welcome.html
package dynamodb

import (
	"log/slog"
	"reflect"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/memo"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Caller  wire.Caller // reaches KMS
	Signals *event.Signals
	Log     *slog.Logger
	Account string
	// Settle is how long tables are CREATING, UPDATING and DELETING.
	Settle latency.Settle
}

// A Service serves the tables of all regions.
type Service struct {
	Options
	tables   memo.Map[string, *table] // by region/name
	unusable sync.Map                 // table ID -> time.Time at which its KMS key was first seen unusable
}

// New makes the service.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Signals == nil {
		o.Signals = &event.Signals{}
	}
	return &Service{Options: o}
}

// Kinds of background tasks.
const (
	taskPurge    = "dynamodb.purge"    // removes what a deleted table or index left
	taskBackfill = "dynamodb.backfill" // fills a new index
	taskRekey    = "dynamodb.rekey"    // re-encrypts a table under another key
	taskTTL      = "dynamodb.ttl"      // deletes expired items
	taskTrim     = "dynamodb.trim"     // forgets stream records after 24 hours
)

// Register adds the operations and the background tasks.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	values, variants := wire.Union[types.AttributeValue](&attr.S{}, &attr.N{}, &attr.B{}, &attr.SS{}, &attr.NS{}, &attr.BS{},
		&attr.M{}, &attr.L{}, &attr.Null{}, &attr.Bool{})
	api := m.API(wire.API{
		Service: "dynamodb", Protocol: wire.JSON10, Target: "DynamoDB_20120810",
		Unions: map[reflect.Type]wire.Variants{values: variants},
	})
	s.registerTables(api)
	s.registerSettings(api)
	s.registerItems(api)
	s.registerReads(api)
	s.registerBatches(api)
	s.registerTransactions(api)

	images, imageVariants := wire.Union[streamtypes.AttributeValue](&streamtypes.AttributeValueMemberS{}, &streamtypes.AttributeValueMemberN{},
		&streamtypes.AttributeValueMemberB{}, &streamtypes.AttributeValueMemberSS{}, &streamtypes.AttributeValueMemberNS{},
		&streamtypes.AttributeValueMemberBS{}, &streamtypes.AttributeValueMemberM{}, &streamtypes.AttributeValueMemberL{},
		&streamtypes.AttributeValueMemberNULL{}, &streamtypes.AttributeValueMemberBOOL{})
	s.registerStreams(m.API(wire.API{
		Service: "dynamodb", Protocol: wire.JSON10, Target: "DynamoDBStreams_20120810",
		Unions: map[reflect.Type]wire.Variants{images: imageVariants},
		Names: map[string]string{
			"Record.AwsRegion": "awsRegion", "Record.Dynamodb": "dynamodb", "Record.EventID": "eventID", "Record.EventName": "eventName",
			"Record.EventSource": "eventSource", "Record.EventVersion": "eventVersion", "Record.UserIdentity": "userIdentity",
		},
	}))

	q.Handle(taskPurge, 1, s.purge)
	q.Handle(taskBackfill, 1, s.backfill)
	q.Handle(taskRekey, 1, s.rekey)
	q.Handle(taskTTL, 1, s.expire)
	q.Handle(taskTrim, 1, s.trim)
}

func invalid(format string, args ...any) error {
	return wire.Errorf("ValidationException", format, args...)
}

func invalidValue(format string, args ...any) error {
	return invalid("One or more parameter values were invalid: "+format, args...)
}

func notFound() error {
	return &types.ResourceNotFoundException{Message: new("Requested resource not found")}
}

func noTable(name string) error {
	return &types.ResourceNotFoundException{Message: new("Requested resource not found: Table: " + name + " not found")}
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
