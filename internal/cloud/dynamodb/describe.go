package dynamodb

import (
	"context"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// DescribeTable describes a table. Its counts are exact and current.
func (s *Service) DescribeTable(ctx context.Context, in *sdk.DescribeTableInput) (*sdk.DescribeTableOutput, error) {
	t, err := s.described(ctx, in.TableName)
	if err != nil {
		d, err := s.farewell(wire.CallOf(ctx), in.TableName, err)
		return &sdk.DescribeTableOutput{Table: d}, err
	}
	var st *state
	err = s.DB.View(func(tx *store.Tx) (err error) {
		st, err = getState(tx, t.prefix)
		return err
	})
	if err != nil {
		return nil, err
	}
	if st == nil {
		return nil, noTable(t.Name) // deleted meanwhile
	}
	d := s.description(t, st)
	if t.Encryption.Current == 0 || s.keyUsable(ctx, t) {
		s.unusable.Delete(t.ID)
		return &sdk.DescribeTableOutput{Table: d}, nil
	}
	since, _ := s.unusable.LoadOrStore(t.ID, time.Now())
	d.TableStatus = types.TableStatusInaccessibleEncryptionCredentials
	d.SSEDescription.InaccessibleEncryptionDateTime = new(since.(time.Time))
	return &sdk.DescribeTableOutput{Table: d}, nil
}

// keyUsable asks KMS, in the service's own name, whether the table's key is enabled.
func (s *Service) keyUsable(ctx context.Context, t *table) bool {
	out, err := wire.Do[kms.DescribeKeyOutput](ctx, s.Caller, s.service(&t.tableRow), &kms.DescribeKeyInput{KeyId: new(t.Encryption.kmsARN())})
	return err == nil && out.KeyMetadata.KeyState == kmstypes.KeyStateEnabled
}

func (s schema) elements() []types.KeySchemaElement {
	out := []types.KeySchemaElement{{AttributeName: new(s.Hash), KeyType: types.KeyTypeHash}}
	if s.Range != "" {
		out = append(out, types.KeySchemaElement{AttributeName: new(s.Range), KeyType: types.KeyTypeRange})
	}
	return out
}

// description is a table as the control plane shows it.
func (s *Service) description(t *table, st *state) *types.TableDescription {
	d := &types.TableDescription{
		TableName: &t.Name, TableArn: &t.arn, TableId: &t.ID, TableStatus: t.status(), CreationDateTime: &t.Created,
		KeySchema: t.Schema.elements(), ItemCount: &st.items, TableSizeBytes: &st.bytes, DeletionProtectionEnabled: &t.Protected,
		ProvisionedThroughput: t.Throughput.description(), OnDemandThroughput: t.OnDemand, WarmThroughput: t.warm(),
	}
	for _, n := range namesOf(t.Attributes) {
		d.AttributeDefinitions = append(d.AttributeDefinitions, types.AttributeDefinition{AttributeName: &n, AttributeType: types.ScalarAttributeType(t.Attributes[n])})
	}
	if t.Billing == types.BillingModePayPerRequest {
		d.BillingModeSummary = &types.BillingModeSummary{BillingMode: t.Billing, LastUpdateToPayPerRequestDateTime: &t.OnDemandSince}
	} else if !t.OnDemandSince.IsZero() {
		d.BillingModeSummary = &types.BillingModeSummary{BillingMode: t.Billing, LastUpdateToPayPerRequestDateTime: &t.OnDemandSince}
	}
	if t.Class != "" {
		d.TableClassSummary = &types.TableClassSummary{TableClass: t.Class}
		if !t.ClassChanged.IsZero() {
			d.TableClassSummary.LastUpdateDateTime = &t.ClassChanged
		}
	}
	if t.Stream != nil {
		d.StreamSpecification = &types.StreamSpecification{StreamEnabled: new(true), StreamViewType: t.Stream.View}
	}
	if t.LatestLabel != "" {
		d.LatestStreamLabel, d.LatestStreamArn = &t.LatestLabel, new(s.streamARN(t.Region, t.Name, t.LatestLabel))
	}
	if arn := t.Encryption.kmsARN(); arn != "" {
		d.SSEDescription = &types.SSEDescription{Status: types.SSEStatusEnabled, SSEType: types.SSETypeKms, KMSMasterKeyArn: &arn}
	}
	for i := range t.Indexes {
		s.describeIndex(t, &t.Indexes[i], st, d)
	}
	return d
}

func (s *Service) describeIndex(t *table, ix *index, st *state, d *types.TableDescription) {
	u := st.indexes[ix.No]
	arn := t.arn + "/index/" + ix.Name
	p := &types.Projection{ProjectionType: ix.Projection, NonKeyAttributes: ix.NonKey}
	if ix.Local {
		d.LocalSecondaryIndexes = append(d.LocalSecondaryIndexes, types.LocalSecondaryIndexDescription{
			IndexName: &ix.Name, IndexArn: &arn, KeySchema: ix.Schema.elements(), Projection: p, ItemCount: &u.items, IndexSizeBytes: &u.bytes,
		})
		return
	}
	g := types.GlobalSecondaryIndexDescription{
		IndexName: &ix.Name, IndexArn: &arn, KeySchema: ix.Schema.elements(), Projection: p, ItemCount: &u.items, IndexSizeBytes: &u.bytes,
		IndexStatus: types.IndexStatusActive, ProvisionedThroughput: ix.Throughput.description(), OnDemandThroughput: ix.OnDemand,
	}
	if t.status() == types.TableStatusCreating {
		g.IndexStatus = types.IndexStatusCreating
	}
	if ix.Backfilling {
		g.IndexStatus, g.Backfilling = types.IndexStatusCreating, new(true)
	}
	w := t.warm()
	g.WarmThroughput = &types.GlobalSecondaryIndexWarmThroughputDescription{
		ReadUnitsPerSecond: w.ReadUnitsPerSecond, WriteUnitsPerSecond: w.WriteUnitsPerSecond, Status: types.IndexStatusActive,
	}
	d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, g)
}

func (p throughput) description() *types.ProvisionedThroughputDescription {
	d := &types.ProvisionedThroughputDescription{ReadCapacityUnits: &p.Read, WriteCapacityUnits: &p.Write, NumberOfDecreasesToday: &p.DecreasesToday}
	if !p.Raised.IsZero() {
		d.LastIncreaseDateTime = &p.Raised
	}
	if !p.Cut.IsZero() {
		d.LastDecreaseDateTime = &p.Cut
	}
	return d
}

// warm is what a new table takes at once, or what was asked for.
func (t *table) warm() *types.TableWarmThroughputDescription {
	w := &types.TableWarmThroughputDescription{ReadUnitsPerSecond: new(int64(12000)), WriteUnitsPerSecond: new(int64(4000)), Status: types.TableStatusActive}
	if t.Billing == types.BillingModeProvisioned {
		w.ReadUnitsPerSecond, w.WriteUnitsPerSecond = new(t.Throughput.Read), new(t.Throughput.Write)
	}
	if t.Warm != nil && t.Warm.ReadUnitsPerSecond != nil {
		w.ReadUnitsPerSecond = t.Warm.ReadUnitsPerSecond
	}
	if t.Warm != nil && t.Warm.WriteUnitsPerSecond != nil {
		w.WriteUnitsPerSecond = t.Warm.WriteUnitsPerSecond
	}
	return w
}

// ListTables lists the names of the tables of the region.
func (s *Service) ListTables(ctx context.Context, in *sdk.ListTablesInput) (*sdk.ListTablesOutput, error) {
	prefix := wire.CallOf(ctx).Region + "/"
	from := prefix
	if in.ExclusiveStartTableName != nil {
		from += *in.ExclusiveStartTableName + "\x00"
	}
	limit := 100
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	out := &sdk.ListTablesOutput{TableNames: []string{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range tableRows.Range(tx, from, store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if len(out.TableNames) == limit {
				out.LastEvaluatedTableName = &out.TableNames[limit-1]
				return nil
			}
			out.TableNames = append(out.TableNames, strings.TrimPrefix(r.Key, prefix))
		}
		return nil
	})
}

// DeleteTable deletes a table at once, its items in the background. Its stream
// can be read for another day.
func (s *Service) DeleteTable(ctx context.Context, in *sdk.DeleteTableInput) (*sdk.DeleteTableOutput, error) {
	t, err := s.described(ctx, in.TableName)
	if err != nil {
		d, err := s.farewell(wire.CallOf(ctx), in.TableName, err)
		return &sdk.DeleteTableOutput{TableDescription: d}, err
	}
	var st *state
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		r, ok, err := tableRows.Get(tx, t.key)
		if err != nil {
			return err
		}
		if !ok {
			return noTable(t.Name)
		}
		if err := r.settled(); err != nil {
			return err
		}
		if r.Protected {
			return invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
		}
		t = s.derive(r)
		if st, err = getState(tx, t.prefix); err != nil {
			return err
		}
		if r.Stream != nil {
			if err := s.closeStream(tx, &r, st); err != nil {
				return err
			}
		}
		if err := stateRows.Delete(tx, t.prefix); err != nil {
			return err
		}
		tx.OnCommit(s.tables.Forget)
		if err := s.sendPurge(tx, t, slices.Collect(indexNumbers(t.Indexes)), true); err != nil {
			return err
		}
		if err := s.bury(tx, r); err != nil {
			return err
		}
		return tableRows.Delete(tx, t.key)
	})
	if err != nil {
		return nil, err
	}
	d := s.description(t, st)
	d.TableStatus = types.TableStatusDeleting
	return &sdk.DeleteTableOutput{TableDescription: d}, nil
}
