package dynamodb

import (
	"context"
	"maps"
	"slices"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// UpdateTable changes how a table is set up. The answer says UPDATING, as on
// AWS; changes are in effect at once, but a new index is filled in the background.
func (s *Service) UpdateTable(ctx context.Context, in *sdk.UpdateTableInput) (*sdk.UpdateTableOutput, error) {
	if err := checkUpdate(in); err != nil {
		return nil, err
	}
	var out *sdk.UpdateTableOutput
	err := latest(func() error {
		t, err := s.described(ctx, in.TableName)
		if err != nil {
			return err
		}
		e, err := s.newKey(ctx, t, in.SSESpecification)
		if err != nil {
			return err
		}
		var after state
		t, err = s.change(ctx, t, func(tx *store.Tx, r *tableRow, st *state) error {
			if r.Version != t.Version {
				return errStale
			}
			if err := r.settled(); err != nil {
				return err
			}
			r.changing(s.Settle.Of(latency.TableUpdated), true)
			if err := s.alter(tx, t, r, st, in); err != nil {
				return err
			}
			if e != nil {
				if err := s.setEncryption(tx, r, *e); err != nil {
					return err
				}
			}
			after = *st
			return nil
		})
		if err != nil {
			return err
		}
		d := s.description(t, &after)
		d.TableStatus = types.TableStatusUpdating
		if e != nil && d.SSEDescription != nil {
			d.SSEDescription.Status = types.SSEStatusUpdating
		}
		out = &sdk.UpdateTableOutput{TableDescription: d}
		return nil
	})
	return out, err
}

func checkUpdate(in *sdk.UpdateTableInput) error {
	switch {
	case in.ReplicaUpdates != nil || in.MultiRegionConsistency != "" || in.GlobalTableWitnessUpdates != nil:
		return invalid("Global tables are not supported")
	case in.VectorIndexUpdates != nil:
		return invalid("Vector indexes are not supported")
	case in.ProvisionedThroughput == nil && in.BillingMode == "" && in.StreamSpecification == nil && len(in.GlobalSecondaryIndexUpdates) == 0 &&
		in.SSESpecification == nil && in.DeletionProtectionEnabled == nil && in.TableClass == "" && in.OnDemandThroughput == nil && in.WarmThroughput == nil:
		return invalid("At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required")
	}
	if in.StreamSpecification != nil {
		if err := checkStream(in.StreamSpecification); err != nil {
			return err
		}
	}
	named := map[string]bool{}
	structural := 0
	for _, u := range in.GlobalSecondaryIndexUpdates {
		name, n := "", 0
		if u.Create != nil {
			name, n, structural = deref(u.Create.IndexName), n+1, structural+1
		}
		if u.Delete != nil {
			name, n, structural = deref(u.Delete.IndexName), n+1, structural+1
		}
		if u.Update != nil {
			name, n = deref(u.Update.IndexName), n+1
		}
		switch {
		case n != 1:
			return invalidValue("One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be null")
		case named[name]:
			return invalidValue("Only one global secondary index update per index is allowed simultaneously. Index: %s", name)
		}
		named[name] = true
	}
	if structural > 1 {
		return &types.LimitExceededException{Message: new("Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table")}
	}
	return nil
}

// alter makes all changes but that of the encryption.
func (s *Service) alter(tx *store.Tx, t *table, r *tableRow, st *state, in *sdk.UpdateTableInput) error {
	if in.DeletionProtectionEnabled != nil {
		r.Protected = *in.DeletionProtectionEnabled
	}
	if in.TableClass != "" && in.TableClass != r.Class {
		r.Class, r.ClassChanged = in.TableClass, time.Now()
	}
	if in.OnDemandThroughput != nil {
		r.OnDemand = in.OnDemandThroughput
	}
	if in.WarmThroughput != nil {
		r.Warm = in.WarmThroughput
	}
	if err := r.alterBilling(in); err != nil {
		return err
	}
	if err := s.alterStream(tx, r, st, in.StreamSpecification); err != nil {
		return err
	}
	if len(in.GlobalSecondaryIndexUpdates) == 0 {
		return nil
	}
	defs, err := attributesOf(in.AttributeDefinitions)
	if err != nil {
		return err
	}
	r.Attributes = maps.Clone(r.Attributes)
	for n, k := range defs {
		if old := r.Attributes[n]; old != "" && old != k {
			return invalidValue("Attribute %s is a key attribute of type %s and cannot become %s", n, old, k)
		}
		r.Attributes[n] = k
	}
	r.Indexes = slices.Clone(r.Indexes)
	for _, u := range in.GlobalSecondaryIndexUpdates {
		if err := s.alterIndex(tx, t, r, st, u); err != nil {
			return err
		}
	}
	r.dropUnused()
	return nil
}

func (r *tableRow) alterBilling(in *sdk.UpdateTableInput) error {
	switch {
	case in.BillingMode == "" && in.ProvisionedThroughput == nil:
		return nil
	case in.BillingMode == types.BillingModePayPerRequest && in.ProvisionedThroughput == nil:
		if r.Billing != in.BillingMode {
			r.Billing, r.Throughput, r.OnDemandSince = in.BillingMode, throughput{}, time.Now()
		}
		return nil
	case in.BillingMode == "" && r.Billing == types.BillingModePayPerRequest:
		return invalidValue("Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	}
	old, since := r.Throughput, r.OnDemandSince
	was := r.Billing
	if err := r.setBilling(types.BillingModeProvisioned, in.ProvisionedThroughput); err != nil {
		return err
	}
	r.OnDemandSince = since
	if in.BillingMode == types.BillingModePayPerRequest {
		return invalidValue("Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	}
	if was == types.BillingModeProvisioned && old.Read == r.Throughput.Read && old.Write == r.Throughput.Write && len(in.GlobalSecondaryIndexUpdates) == 0 {
		return invalid("The provisioned throughput for the table will not change. The requested value equals the current value. "+
			"Current ReadCapacityUnits provisioned for the table: %d. Requested ReadCapacityUnits: %d. "+
			"Current WriteCapacityUnits provisioned for the table: %d. Requested WriteCapacityUnits: %d. "+
			"Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.", old.Read, old.Read, old.Write, old.Write)
	}
	r.Throughput = old.to(r.Throughput.Read, r.Throughput.Write)
	return nil
}

// to is a changed throughput, which remembers when it was changed.
func (p throughput) to(read, write int64) throughput {
	now := time.Now()
	if read > p.Read || write > p.Write {
		p.Raised = now
	}
	if read < p.Read || write < p.Write {
		p.Cut = now
		p.DecreasesToday++
	}
	p.Read, p.Write = read, write
	return p
}

func (s *Service) alterStream(tx *store.Tx, r *tableRow, st *state, sp *types.StreamSpecification) error {
	switch {
	case sp == nil:
		return nil
	case *sp.StreamEnabled && r.Stream != nil:
		return invalid("Table already has an enabled stream: TableName: %s", r.Name)
	case *sp.StreamEnabled:
		return s.openStream(tx, r, st, sp.StreamViewType)
	case r.Stream == nil:
		return invalid("Table has no stream to disable: TableName: %s", r.Name)
	}
	return s.closeStream(tx, r, st)
}

func (s *Service) alterIndex(tx *store.Tx, t *table, r *tableRow, st *state, u types.GlobalSecondaryIndexUpdate) error {
	if c := u.Create; c != nil {
		return s.createIndex(tx, r, c)
	}
	var name *string
	if u.Delete != nil {
		name = u.Delete.IndexName
	} else {
		name = u.Update.IndexName
	}
	i := slices.IndexFunc(r.Indexes, func(ix index) bool { return !ix.Local && ix.Name == deref(name) })
	if i < 0 {
		return &types.ResourceNotFoundException{Message: new("Requested resource not found: Index: " + deref(name) + " not found")}
	}
	if u.Delete != nil {
		no := r.Indexes[i].No
		r.Indexes = slices.Delete(r.Indexes, i, i+1)
		delete(st.indexes, no)
		return s.sendPurge(tx, t, []byte{no}, false)
	}
	ix := &r.Indexes[i]
	if p := u.Update.ProvisionedThroughput; p != nil {
		old := ix.Throughput
		if err := ix.setThroughput(r.Billing, p); err != nil {
			return err
		}
		ix.Throughput = old.to(ix.Throughput.Read, ix.Throughput.Write)
	}
	if u.Update.OnDemandThroughput != nil {
		ix.OnDemand = u.Update.OnDemandThroughput
	}
	return nil
}

func (s *Service) createIndex(tx *store.Tx, r *tableRow, c *types.CreateGlobalSecondaryIndexAction) error {
	global := 0
	for _, ix := range r.Indexes {
		if ix.Backfilling {
			return &types.LimitExceededException{Message: new("Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table")}
		}
		if !ix.Local {
			global++
		}
	}
	if global >= maxGlobalIndexes {
		return invalidValue("GlobalSecondaryIndex count exceeds the per-table limit of %d", maxGlobalIndexes)
	}
	if c.IndexName == nil || len(c.KeySchema) == 0 || c.Projection == nil {
		return invalidValue("IndexName, KeySchema and Projection are required to create an index")
	}
	if n := len(*c.IndexName); n < 3 || n > 255 {
		return invalid("Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'")
	}
	ix, err := r.newIndex(*c.IndexName, c.KeySchema, c.Projection)
	if err != nil {
		return err
	}
	if err := ix.setThroughput(r.Billing, c.ProvisionedThroughput); err != nil {
		return err
	}
	ix.OnDemand, ix.Backfilling = c.OnDemandThroughput, true
	r.Indexes = append(r.Indexes, ix)
	return s.send(tx, event.Task{Kind: taskBackfill}, job{Table: tableKey(r.Region, r.Name), ID: r.ID, Index: ix.No})
}

// dropUnused forgets the types of attributes that are no keys any more.
func (r *tableRow) dropUnused() {
	used := map[string]bool{}
	for _, n := range r.Schema.names() {
		used[n] = true
	}
	for _, ix := range r.Indexes {
		for _, n := range ix.Schema.names() {
			used[n] = true
		}
	}
	maps.DeleteFunc(r.Attributes, func(n, _ string) bool { return !used[n] })
}

// newKey prepares the change of a table's encryption; nil if none is asked for.
func (s *Service) newKey(ctx context.Context, t *table, sp *types.SSESpecification) (*encryption, error) {
	if sp == nil {
		return nil, nil
	}
	kmsKey, err := kmsKeyOf(sp)
	if err != nil {
		return nil, err
	}
	a, err := s.open(ctx, t, wire.CallOf(ctx).As("dynamodb"))
	if err != nil {
		return nil, err
	}
	e, err := s.encryptUnder(ctx, t.Encryption, t.Region, t.ID, t.Name, kmsKey, a.pepper)
	if err != nil {
		return nil, err
	}
	if e.kmsARN() == t.Encryption.kmsARN() {
		if kmsKey == "" {
			return nil, invalidValue("Table is already encrypted by default")
		}
		return nil, invalidValue("Table is already encrypted by given KMSMasterKeyId")
	}
	return &e, nil
}

// setEncryption has new items sealed under another key, and sends for those
// that there are.
func (s *Service) setEncryption(tx *store.Tx, r *tableRow, e encryption) error {
	j := job{Table: tableKey(r.Region, r.Name), ID: r.ID}
	if old := r.Encryption; old.GrantID != "" {
		j.Grant = &grantJob{r.Region, r.Name, old.kmsARN(), old.GrantID}
	}
	r.Encryption = e
	if r.Stream != nil {
		key := streamKey(r.Region, r.Name, r.Stream.Label)
		row, ok, err := streamRows.Get(tx, key)
		if err != nil {
			return err
		}
		if ok && e.Current != 0 {
			row.Keys = append(row.Keys, e.Keys[len(e.Keys)-1])
			if err := streamRows.Put(tx, key, row); err != nil {
				return err
			}
		}
	}
	return s.send(tx, event.Task{Kind: taskRekey}, j)
}
