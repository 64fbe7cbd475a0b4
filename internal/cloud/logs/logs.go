// Package logs is CloudWatch Logs: groups, streams and events that are
// encrypted under the group's key, found by time and by filter pattern, and
// gone when their retention ends.
//
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/Welcome.html
package logs

import (
	"context"
	"log/slog"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/memo"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Caller  wire.Caller
	Log     *slog.Logger
	Account string
}

// A Service serves the log groups of all regions.
type Service struct {
	Options
	groups memo.Rows[groupRow] // for PutLogEvents, which asks twice for every batch
}

// New makes the service.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{Options: o, groups: memo.Rows[groupRow]{Table: groups}}
}

// Tables. Events lie under the id of their stream, not under its name, so that
// a stream that is made again does not find the events of the one before,
// which are still being removed.
const (
	groups   = store.Table[groupRow]("logs.groups")    // region/name
	streams  = store.Table[streamRow]("logs.streams")  // group id/name
	events   = store.Table[[]byte]("logs.events")      // stream id/position; see beginBlock
	policies = store.Table[policyRow]("logs.policies") // region/name
)

// Kinds of tasks.
const (
	expireTask = "logs.expire" // events of one stream at the end of their retention
	dropTask   = "logs.drop"   // events of deleted streams
)

// Register adds the operations and the handlers of the background work.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{
		Service: "logs", TagAction: "TagResource", Protocol: wire.JSON11, Target: "Logs_20140328", LowerFirst: true,
		Invalid: func(_ string, p []wire.Problem) error { return invalid(wire.ProblemText(p)) },
	})
	s.registerGroups(api)
	s.registerStreams(api)
	s.registerEvents(api)
	s.registerTags(api)
	s.registerPolicies(api)
	q.Handle(expireTask, 1, s.expire)
	q.Handle(dropTask, 1, s.drop)
}

// Constraints that many operations share.
const (
	groupRule      = " 1..512 [\\.\\-_/#A-Za-z0-9]+"
	streamRule     = " 1..512 [^:*]*"
	identifierRule = "LogGroupIdentifier 1..2048 [\\w#+=/:,.@-]*"
)

func (s *Service) registerTags(api *wire.API) {
	const arnRule = "ResourceArn! 1..1011 [\\w+=/:,.@-]*"
	wire.Handle(api, s.TagResource, wire.Members(arnRule, "Tags! 1..50"),
		wire.On(func(_ *wire.Call, in *sdk.TagResourceInput) []string { return []string{aws.ToString(in.ResourceArn)} }))
	wire.Handle(api, s.UntagResource, wire.Members(arnRule, "TagKeys! 0..50"),
		wire.On(func(_ *wire.Call, in *sdk.UntagResourceInput) []string { return []string{aws.ToString(in.ResourceArn)} }))
	wire.Handle(api, s.ListTagsForResource, wire.Members(arnRule),
		wire.On(func(_ *wire.Call, in *sdk.ListTagsForResourceInput) []string {
			return []string{aws.ToString(in.ResourceArn)}
		}))
}

// onGroup judges an operation on a group. IAM's resource for all but tags is
// the group's ARN with ":log-stream:" and the stream's name, if there is one,
// so that policies on "log-group:name:*" match.
func onGroup[In any](name func(*In) (group, stream *string)) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string {
		group, stream := name(in)
		return []string{c.ARN("logs", "log-group:"+plainName(aws.ToString(group))+":log-stream:"+aws.ToString(stream))}
	})
}

// plainName is the name of a group that is given by name or by ARN.
func plainName(identifier string) string {
	if p := strings.SplitN(identifier, ":", 7); len(p) == 7 && p[0] == "arn" {
		return strings.TrimSuffix(p[6], ":*")
	}
	return identifier
}

// either is the group that one of two members names.
func either(name, identifier *string) *string {
	if name != nil {
		return name
	}
	return identifier
}

// groupOf checks the pair of members by which newer operations name a group.
func groupOf(name, identifier *string) (string, error) {
	switch {
	case name != nil && identifier != nil:
		return "", wire.Errorf("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
	case name == nil && identifier == nil:
		return "", wire.Errorf("ValidationException", "Either LogGroup name or LogGroup ARN must be specified.")
	}
	return plainName(*either(name, identifier)), nil
}

func invalid(text string) error { return &types.InvalidParameterException{Message: &text} }

func noGroup() error {
	return &types.ResourceNotFoundException{Message: new("The specified log group does not exist.")}
}

func noStream() error {
	return &types.ResourceNotFoundException{Message: new("The specified log stream does not exist.")}
}

var errToken = invalid("The specified nextToken is invalid.")

// key is the identity in which the service asks KMS for a group's key.
func (s *Service) keyUser(region, groupARN string) wire.As {
	return wire.As{Region: region, Principal: authz.ServicePrincipal("logs."+region, groupARN, s.Account)}
}

// change reads a group, lets f change it, and writes it, in one transaction.
func (s *Service) change(ctx context.Context, region, name string, f func(tx *store.Tx, g *groupRow) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		g, ok, err := groups.Get(tx, region+"/"+name)
		if err != nil {
			return err
		}
		if !ok {
			return noGroup()
		}
		if err := f(tx, &g); err != nil {
			return err
		}
		return groups.Put(tx, region+"/"+name, g)
	})
}
