package apigw

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// The parts of an API (integrations, routes, stages) are read and written in
// the same way: under the API's prefix, and with a new deployment after each
// change where a stage deploys by itself.

func putPart[V any](ctx context.Context, s *Service, t store.Table[V], api *string, id string, v V, check func(*store.Tx) error) error {
	region := wire.CallOf(ctx).Region
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := load(tx, region, api); err != nil {
			return err
		}
		if check != nil {
			if err := check(tx); err != nil {
				return err
			}
		}
		if err := t.Put(tx, key(region, api, &id), v); err != nil {
			return err
		}
		return deployed(tx, region, *api)
	})
}

func loadPart[V any](tx *store.Tx, t store.Table[V], kind, region string, api, id *string) (V, error) {
	var none V
	if _, err := load(tx, region, api); err != nil {
		return none, err
	}
	v, ok, err := t.Get(tx, key(region, api, id))
	if err == nil && !ok {
		err = notFound(kind, *id)
	}
	return v, err
}

func getPart[V any](ctx context.Context, s *Service, t store.Table[V], kind string, api, id *string) (v V, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		v, err = loadPart(tx, t, kind, wire.CallOf(ctx).Region, api, id)
		return err
	})
	return v, err
}

func parts[V any](ctx context.Context, s *Service, t store.Table[V], api *string) (all []V, err error) {
	region := wire.CallOf(ctx).Region
	err = s.DB.View(func(tx *store.Tx) error {
		if _, err := load(tx, region, api); err != nil {
			return err
		}
		for r, err := range t.Prefix(tx, ofAPI(region, *api)) {
			if err != nil {
				return err
			}
			all = append(all, r.Value)
		}
		return nil
	})
	return all, err
}

func changePart[V any](ctx context.Context, s *Service, t store.Table[V], kind string, api, id *string, change func(*store.Tx, *V) error) (v V, err error) {
	region := wire.CallOf(ctx).Region
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if v, err = loadPart(tx, t, kind, region, api, id); err != nil {
			return err
		}
		if err := change(tx, &v); err != nil {
			return err
		}
		if err := t.Put(tx, key(region, api, id), v); err != nil {
			return err
		}
		return deployed(tx, region, *api)
	})
	return v, err
}

func deletePart[V any](ctx context.Context, s *Service, t store.Table[V], kind string, api, id *string, check func(*store.Tx) error) error {
	region := wire.CallOf(ctx).Region
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := loadPart(tx, t, kind, region, api, id); err != nil {
			return err
		}
		if check != nil {
			if err := check(tx); err != nil {
				return err
			}
		}
		if err := t.Delete(tx, key(region, api, id)); err != nil {
			return err
		}
		return deployed(tx, region, *api)
	})
}

// maxDeployments bounds what is kept of an API's history of automatic deployments.
const maxDeployments = 50

// deployed records an automatic deployment for every stage that deploys by
// itself. Requests are served from the live configuration, which is the same
// thing for such stages.
func deployed(tx *store.Tx, region, api string) error {
	var auto []types.Stage
	for r, err := range stages.Prefix(tx, ofAPI(region, api)) {
		if err != nil {
			return err
		}
		if r.Value.AutoDeploy != nil && *r.Value.AutoDeploy {
			auto = append(auto, r.Value)
		}
	}
	if len(auto) == 0 {
		return nil
	}
	now := time.Now().UTC()
	d := types.Deployment{
		DeploymentId: new(newID(6)), AutoDeployed: new(true), CreatedDate: new(now.Truncate(time.Second)),
		DeploymentStatus: types.DeploymentStatusDeployed, Description: new("Automatic deployment triggered by changes to the Api configuration"),
	}
	order := now.Format("20060102T150405.000000000")
	if err := deployments.Put(tx, key(region, &api, &order), d); err != nil {
		return err
	}
	for _, st := range auto {
		st.DeploymentId, st.LastDeploymentStatusMessage = d.DeploymentId, new("Successfully deployed stage with deployment ID '"+*d.DeploymentId+"'")
		if err := stages.Put(tx, key(region, &api, st.StageName), st); err != nil {
			return err
		}
	}
	return trimDeployments(tx, ofAPI(region, api))
}

func trimDeployments(tx *store.Tx, prefix string) error {
	var keys []string
	for r, err := range deployments.Prefix(tx, prefix) {
		if err != nil {
			return err
		}
		keys = append(keys, r.Key)
	}
	for _, k := range keys[:max(0, len(keys)-maxDeployments)] {
		if err := deployments.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}
