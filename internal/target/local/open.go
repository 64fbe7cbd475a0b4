package local

import (
	"context"

	"miniforge/internal/cloud"
	"miniforge/internal/cloud/latency"
)

// open opens the folder's cloud. The state it returns has the identity alone.
func open(ctx context.Context, f Folder, o Options, endpoint string) (*cloud.Cloud, State, error) {
	dir := f.Data()
	if o.Ephemeral {
		dir = ""
	}
	model, err := latency.New(o.Latency, o.Seed)
	if err != nil {
		return nil, State{}, err
	}
	c, err := cloud.New(ctx, cloud.Options{
		Dir: dir, Account: o.Account, Region: o.Region, Endpoint: endpoint, Version: o.Version, Logger: o.Logger,
		RootAccessKeyID: o.RootAccessKeyID, RootSecretAccessKey: o.RootSecretAccessKey,
		Latency: model, Faults: o.Faults, FaultState: o.FaultState, Kill: o.Kill,
	})
	if err != nil {
		return nil, State{}, err
	}
	return c, State{Account: c.Account, Region: c.Region, AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey}, nil
}
