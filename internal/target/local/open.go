package local

import (
	"context"
	"errors"
	"net"
)

// server is what Serve asks of a cloud.
type server interface {
	Serve(context.Context, net.Listener) error
	Close() error
}

// open opens the folder's cloud. The state it returns has the identity alone.
func open(_ context.Context, _ Folder, _ Options, _ string) (server, State, error) {
	return nil, State{}, errors.New("this build has no embedded cloud")
}
