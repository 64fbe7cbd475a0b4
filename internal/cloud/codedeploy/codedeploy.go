// Package codedeploy is CodeDeploy for Lambda: deployments that shift an alias from one version to another, and back if something fails.
//
// https://docs.aws.amazon.com/codedeploy/latest/APIReference/Welcome.html
package codedeploy

import (
	"context"
	"log/slog"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
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
}

// A Service serves all regions.
type Service struct{ Options }

// New makes the service.
func New(o Options) *Service { return &Service{o} }

// Register adds the operations and task handlers.
func (s *Service) Register(m *wire.Mux, _ *event.Queue) {
	m.API(wire.API{Service: "codedeploy", Protocol: wire.JSON11, Target: "CodeDeploy_20141006", LowerFirst: true})
}

// Tagged lists the resources of a region: ARN -> tags.
func (s *Service) Tagged(context.Context, string) (map[string]map[string]string, error) {
	return nil, nil
}

// SetTags changes the tags of one resource.
func (s *Service) SetTags(context.Context, string, map[string]string, []string) error { return nil }
