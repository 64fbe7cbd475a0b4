package kms

import (
	"context"
	"slices"
	"strconv"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const (
	yearly     = 365 // days, the default period
	maxDemands = 25  // rotations on demand in a key's life
)

func (s *Service) registerRotation(api *wire.API) {
	wire.Handle(api, s.EnableKeyRotation, on(s, func(in *sdk.EnableKeyRotationInput) *string { return in.KeyId },
		func(in *sdk.EnableKeyRotationInput, keys map[string][]string) {
			if in.RotationPeriodInDays != nil {
				keys["kms:RotationPeriodInDays"] = []string{strconv.Itoa(int(*in.RotationPeriodInDays))}
			}
		}), wire.Members(keyIDRule, "RotationPeriodInDays 90..2560"))
	wire.Handle(api, s.DisableKeyRotation, on(s, func(in *sdk.DisableKeyRotationInput) *string { return in.KeyId }), wire.Members(keyIDRule))
	wire.Handle(api, s.GetKeyRotationStatus, on(s, func(in *sdk.GetKeyRotationStatusInput) *string { return in.KeyId }), wire.Members(keyIDRule))
	wire.Handle(api, s.RotateKeyOnDemand, on(s, func(in *sdk.RotateKeyOnDemandInput) *string { return in.KeyId }), wire.Members(keyIDRule))
	wire.Handle(api, s.ListKeyRotations, on(s, func(in *sdk.ListKeyRotationsInput) *string { return in.KeyId }),
		wire.Members(keyIDRule, "Limit 1..1000", "Marker 1..1024", "IncludeKeyMaterial ALL_KEY_MATERIAL|ROTATIONS_ONLY"))
}

// EnableKeyRotation has a key's material renewed periodically.
func (s *Service) EnableKeyRotation(ctx context.Context, in *sdk.EnableKeyRotationInput) (*sdk.EnableKeyRotationOutput, error) {
	return &sdk.EnableKeyRotationOutput{}, s.setRotation(ctx, in.KeyId, func(r *rotation) {
		days := int32(yearly)
		if in.RotationPeriodInDays != nil {
			days = *in.RotationPeriodInDays
		}
		if !r.Enabled || r.Period != days {
			*r = rotation{Enabled: true, Period: days, Next: time.Now().AddDate(0, 0, int(days)), Demands: r.Demands}
		}
	})
}

// DisableKeyRotation ends the periodic renewal.
func (s *Service) DisableKeyRotation(ctx context.Context, in *sdk.DisableKeyRotationInput) (*sdk.DisableKeyRotationOutput, error) {
	return &sdk.DisableKeyRotationOutput{}, s.setRotation(ctx, in.KeyId, func(r *rotation) {
		*r = rotation{Demands: r.Demands}
	})
}

func (s *Service) setRotation(ctx context.Context, name *string, edit func(*rotation)) error {
	k, err := s.findOnly(regionOf(ctx), name)
	if err != nil {
		return err
	}
	return s.change(ctx, k, func(tx *store.Tx, row *keyRow) error {
		if err := (&key{keyRow: *row, arn: k.arn}).usable(); err != nil {
			return err
		}
		edit(&row.Rotation)
		return s.sendRotation(tx, *row)
	})
}

// sendRotation sets the timer of a key's next rotation, or none.
func (s *Service) sendRotation(tx *store.Tx, row keyRow) error {
	id := row.Region + "/" + row.ID
	if !row.Rotation.Enabled {
		return s.Tasks.Finish(tx, rotateTask, id)
	}
	return s.Tasks.Send(tx, event.Task{Kind: rotateTask, ID: id, Due: row.Rotation.Next})
}

// rotateDue renews a key's material at the end of its period. Keys that are
// not enabled then are passed over, as on AWS.
func (s *Service) rotateDue(ctx context.Context, t event.Task) event.Result {
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		row, ok, err := keyRows.Get(tx, t.ID)
		now := time.Now()
		if err != nil || !ok || !row.Rotation.Enabled || row.Rotation.Next.After(now) {
			return err
		}
		if row.State == string(types.KeyStateEnabled) {
			if err := s.addMaterial(&row, now, false); err != nil {
				return err
			}
		}
		row.Rotation.Next = now.AddDate(0, 0, int(row.Rotation.Period))
		if err := s.sendRotation(tx, row); err != nil {
			return err
		}
		return s.put(tx, row)
	})
	if err != nil {
		s.Log.Error("cannot rotate key", "key", t.ID, "error", err)
		return event.Retry(time.Minute)
	}
	return event.Done()
}

// GetKeyRotationStatus tells whether and when a key is renewed.
func (s *Service) GetKeyRotationStatus(ctx context.Context, in *sdk.GetKeyRotationStatusInput) (*sdk.GetKeyRotationStatusOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetKeyRotationStatusOutput{KeyId: &k.arn}
	// A key that is to be deleted is not rotated, whatever it was set to.
	if k.Rotation.Enabled && k.alive() == nil {
		out.KeyRotationEnabled, out.RotationPeriodInDays, out.NextRotationDate = true, &k.Rotation.Period, &k.Rotation.Next
	}
	return out, nil
}

// RotateKeyOnDemand renews a key's material now.
func (s *Service) RotateKeyOnDemand(ctx context.Context, in *sdk.RotateKeyOnDemandInput) (*sdk.RotateKeyOnDemandOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, k, func(_ *store.Tx, row *keyRow) error {
		if err := (&key{keyRow: *row, arn: k.arn}).usable(); err != nil {
			return err
		}
		if row.Rotation.Demands++; row.Rotation.Demands > maxDemands {
			return &types.LimitExceededException{Message: new("The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: " + k.arn)}
		}
		return s.addMaterial(row, time.Now(), true)
	})
	return &sdk.RotateKeyOnDemandOutput{KeyId: &k.arn}, err
}

// ListKeyRotations lists when a key's material was renewed.
func (s *Service) ListKeyRotations(ctx context.Context, in *sdk.ListKeyRotationsInput) (*sdk.ListKeyRotationsOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	after, err := decodeMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	first := slices.IndexFunc(k.Materials, func(m material) bool { return m.ID == after }) + 1
	if after != "" && first == 0 {
		return nil, &types.InvalidMarkerException{Message: new("The marker is not one of this key's")}
	}
	size := 100
	if in.Limit != nil {
		size = int(*in.Limit)
	}
	out := &sdk.ListKeyRotationsOutput{Rotations: []types.RotationsListEntry{}}
	for i := first; i < len(k.Materials); i++ {
		if i == 0 && in.IncludeKeyMaterial != types.IncludeKeyMaterialAllKeyMaterial {
			continue // the first material was not a rotation
		}
		if len(out.Rotations) == size {
			out.NextMarker, out.Truncated = encodeMarker(k.Materials[i-1].ID), true
			break
		}
		out.Rotations = append(out.Rotations, k.rotationEntry(i))
	}
	return out, nil
}

func (k *key) rotationEntry(i int) types.RotationsListEntry {
	m := k.Materials[i]
	e := types.RotationsListEntry{KeyId: &k.arn, KeyMaterialId: &m.ID, KeyMaterialState: types.KeyMaterialStateNonCurrent}
	if i == len(k.Materials)-1 {
		e.KeyMaterialState = types.KeyMaterialStateCurrent
	}
	if i > 0 {
		e.RotationDate, e.RotationType = &m.Created, types.RotationTypeAutomatic
		if m.OnDemand {
			e.RotationType = types.RotationTypeOnDemand
		}
	}
	return e
}
