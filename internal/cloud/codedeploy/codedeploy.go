// Package codedeploy is CodeDeploy for Lambda: deployments that shift an alias
// from one version to another, all at once or step by step, with functions
// that check before and after, and back if something fails.
//
// Every deployment is a state machine at rest in the store (see run.go), so
// that one that was under way when the process ended goes on where it was.
//
// https://docs.aws.amazon.com/codedeploy/latest/APIReference/Welcome.html
package codedeploy

import (
	"log/slog"
	"time"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB     store.DB
	Tasks  event.Sender
	Caller wire.Caller
	// Signals are sent under "codedeploy/REGION/DEPLOYMENT" when a deployment changes.
	Signals *event.Signals
	Log     *slog.Logger
	Account string
}

// A Service serves all regions.
type Service struct{ Options }

// New makes the service.
func New(o Options) *Service {
	if o.Signals == nil {
		o.Signals = &event.Signals{}
	}
	return &Service{o}
}

// How many deployments move, and notices leave, at a time. A deployment only
// occupies a worker while it calls another service, never while it waits.
const (
	stepWorkers   = 32
	noticeWorkers = 8
)

// Register adds the operations and task handlers.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{Service: "codedeploy", Protocol: wire.JSON11, Target: "CodeDeploy_20141006", LowerFirst: true, Names: map[string]string{
		"Tag.Key": "Key", "Tag.Value": "Value", "TagFilter.Key": "Key", "TagFilter.Value": "Value", "TagFilter.Type": "Type",
		"EC2TagFilter.Key": "Key", "EC2TagFilter.Value": "Value", "EC2TagFilter.Type": "Type",
		"DeploymentOverview.Pending": "Pending", "DeploymentOverview.InProgress": "InProgress", "DeploymentOverview.Succeeded": "Succeeded",
		"DeploymentOverview.Failed": "Failed", "DeploymentOverview.Skipped": "Skipped", "DeploymentOverview.Ready": "Ready",
		"TagResourceInput.ResourceArn": "ResourceArn", "TagResourceInput.Tags": "Tags",
		"UntagResourceInput.ResourceArn": "ResourceArn", "UntagResourceInput.TagKeys": "TagKeys",
		"ListTagsForResourceInput.ResourceArn": "ResourceArn", "ListTagsForResourceInput.NextToken": "NextToken",
		"ListTagsForResourceOutput.Tags": "Tags", "ListTagsForResourceOutput.NextToken": "NextToken",
		"RevisionLocation.String_": "string",
	}})
	s.registerApplications(api)
	s.registerGroups(api)
	s.registerConfigs(api)
	s.registerRevisions(api)
	s.registerDeployments(api)
	s.registerTargets(api)
	s.registerTags(api)
	q.Handle(stepKind, stepWorkers, s.step)
	q.Handle(noticeKind, noticeWorkers, s.notify)
}

// signal is under what [event.Signals] tell that a deployment has changed.
func signal(region, deployment string) string { return "codedeploy/" + region + "/" + deployment }

// now is the time as CodeDeploy keeps it: to the millisecond.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
