package resource

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/graph"
)

// tableAPI is what a Table asks of DynamoDB.
type tableAPI interface {
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	UpdateTable(context.Context, *dynamodb.UpdateTableInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error)
	DeleteTable(context.Context, *dynamodb.DeleteTableInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteTableOutput, error)
	DescribeContinuousBackups(context.Context, *dynamodb.DescribeContinuousBackupsInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeContinuousBackupsOutput, error)
	UpdateContinuousBackups(context.Context, *dynamodb.UpdateContinuousBackupsInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateContinuousBackupsOutput, error)
	ListTagsOfResource(context.Context, *dynamodb.ListTagsOfResourceInput, ...func(*dynamodb.Options)) (*dynamodb.ListTagsOfResourceOutput, error)
}

var _ tableAPI = (*dynamodb.Client)(nil)

// An Index is a global secondary index with string keys that projects all.
type Index struct{ Name, Hash, Range string }

// A Table is an on-demand DynamoDB table with a string hash key, encrypted
// with a customer-managed key, with point-in-time recovery.
type Table struct {
	DynamoDB tableAPI
	Owner    Owner
	Name     string
	ARN      string
	Hash     string
	Indexes  []Index
	Stream   bool // NEW_AND_OLD_IMAGES
	Key      *Key

	streamARN string
}

func (t *Table) ID() string              { return "dynamodb/" + t.Name }
func (t *Table) Needs() []graph.Resource { return []graph.Resource{t.Key} }

// StreamARN is that of the latest stream, or "" before there is one. A table
// that was made anew has a stream with another ARN.
func (t *Table) StreamARN() string { return t.streamARN }

func (t *Table) Observe(ctx context.Context) (graph.Observation, error) {
	t.streamARN = ""
	out, err := t.DynamoDB.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.Name})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("describe table", t.Name, err)
	}
	var tags map[string]string
	var recovery types.PointInTimeRecoveryStatus
	err = together(ctx, func(ctx context.Context) error {
		out, err := t.DynamoDB.ListTagsOfResource(ctx, &dynamodb.ListTagsOfResourceInput{ResourceArn: &t.ARN})
		if err == nil {
			tags = tagMap(out.Tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
		}
		return err
	}, func(ctx context.Context) error {
		out, err := t.DynamoDB.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &t.Name})
		if err == nil && out.ContinuousBackupsDescription != nil && out.ContinuousBackupsDescription.PointInTimeRecoveryDescription != nil {
			recovery = out.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus
		}
		return err
	})
	if err != nil && !gone(err) { // a table on its way in or out has no backups or tags yet
		return graph.Observation{}, failed("read table", t.Name, err)
	}
	t.streamARN = deref(out.Table.LatestStreamArn)
	return graph.Observation{Exists: true, Owned: t.Owner.owns(tags), Drift: t.compare(out.Table, recovery)}, nil
}

func (t *Table) compare(got *types.TableDescription, recovery types.PointInTimeRecoveryStatus) (d drift) {
	if got.TableStatus != types.TableStatusActive && got.TableStatus != types.TableStatusUpdating {
		d.add("TableStatus", string(types.TableStatusActive), string(got.TableStatus))
	}
	d.replace("KeySchema", schema(t.keySchema(t.Hash, "")), schema(got.KeySchema))
	if b := got.BillingModeSummary; b != nil || got.ProvisionedThroughput != nil {
		mode := types.BillingModeProvisioned
		if b != nil {
			mode = b.BillingMode
		}
		d.add("BillingMode", string(types.BillingModePayPerRequest), string(mode))
	}
	var key string
	if s := got.SSEDescription; s != nil && s.SSEType == types.SSETypeKms {
		key = deref(s.KMSMasterKeyArn)
	}
	d.add("KMSMasterKeyId", orUnknown(t.Key.ARN()), key)
	view := ""
	if s := got.StreamSpecification; s != nil && deref(s.StreamEnabled) {
		view = string(s.StreamViewType)
	}
	wantView := ""
	if t.Stream {
		wantView = string(types.StreamViewTypeNewAndOldImages)
	}
	d.add("StreamViewType", wantView, view)
	d.add("PointInTimeRecovery", "ENABLED", string(recovery))
	for _, want := range t.Indexes {
		i := slices.IndexFunc(got.GlobalSecondaryIndexes, func(g types.GlobalSecondaryIndexDescription) bool { return deref(g.IndexName) == want.Name })
		if i < 0 {
			d.add("Index."+want.Name, schema(t.keySchema(want.Hash, want.Range)), "")
			continue
		}
		d.replace("Index."+want.Name, schema(t.keySchema(want.Hash, want.Range)), schema(got.GlobalSecondaryIndexes[i].KeySchema))
	}
	return d
}

func schema(keys []types.KeySchemaElement) string {
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s %s", deref(k.AttributeName), k.KeyType))
	}
	return strings.Join(parts, ", ")
}

func (t *Table) keySchema(hash, sort string) []types.KeySchemaElement {
	keys := []types.KeySchemaElement{{AttributeName: &hash, KeyType: types.KeyTypeHash}}
	if sort != "" {
		keys = append(keys, types.KeySchemaElement{AttributeName: &sort, KeyType: types.KeyTypeRange})
	}
	return keys
}

// attributes declares the key attributes of the table and of its indexes.
func (t *Table) attributes() []types.AttributeDefinition {
	names := []string{t.Hash}
	for _, i := range t.Indexes {
		names = append(names, i.Hash, i.Range)
	}
	slices.Sort(names)
	var out []types.AttributeDefinition
	for _, n := range slices.Compact(names) {
		out = append(out, types.AttributeDefinition{AttributeName: &n, AttributeType: types.ScalarAttributeTypeS})
	}
	return out
}

func (t *Table) sse() *types.SSESpecification {
	on, key := true, t.Key.ARN()
	return &types.SSESpecification{Enabled: &on, SSEType: types.SSETypeKms, KMSMasterKeyId: &key}
}

func (t *Table) stream() *types.StreamSpecification {
	if !t.Stream {
		return nil
	}
	on := true
	return &types.StreamSpecification{StreamEnabled: &on, StreamViewType: types.StreamViewTypeNewAndOldImages}
}

func (t *Table) Create(ctx context.Context) error {
	in := &dynamodb.CreateTableInput{
		TableName:            &t.Name,
		KeySchema:            t.keySchema(t.Hash, ""),
		AttributeDefinitions: t.attributes(),
		BillingMode:          types.BillingModePayPerRequest,
		SSESpecification:     t.sse(),
		StreamSpecification:  t.stream(),
		Tags:                 tagList(t.Owner.Tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }),
	}
	for _, i := range t.Indexes {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: &i.Name, KeySchema: t.keySchema(i.Hash, i.Range),
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		})
	}
	if _, err := t.DynamoDB.CreateTable(ctx, in); err != nil {
		return failed("create table", t.Name, err)
	}
	if err := t.active(ctx); err != nil {
		return err
	}
	return t.recover(ctx)
}

// active waits until the table and its indexes can be used and changed.
func (t *Table) active(ctx context.Context) error {
	return until(ctx, "table "+t.Name, func(ctx context.Context) (bool, error) {
		out, err := t.DynamoDB.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.Name})
		if gone(err) {
			return false, nil // not visible yet
		} else if err != nil {
			return false, err
		}
		t.streamARN = deref(out.Table.LatestStreamArn)
		if s := out.Table.TableStatus; s != types.TableStatusActive {
			if s == types.TableStatusDeleting || s == types.TableStatusInaccessibleEncryptionCredentials || s == types.TableStatusArchived {
				return false, &graph.NotYet{Err: fmt.Errorf("table %s is %s", t.Name, s)}
			}
			return false, nil
		}
		return !slices.ContainsFunc(out.Table.GlobalSecondaryIndexes, func(g types.GlobalSecondaryIndexDescription) bool {
			return g.IndexStatus != types.IndexStatusActive && g.IndexStatus != ""
		}), nil
	})
}

func (t *Table) recover(ctx context.Context) error {
	on := true
	_, err := t.DynamoDB.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
		TableName:                        &t.Name,
		PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: &on},
	})
	return failed("enable point-in-time recovery of table", t.Name, err)
}

// Update makes one call for each kind of change, as DynamoDB demands, and
// waits for the table between them.
func (t *Table) Update(ctx context.Context, diffs []graph.Diff) error {
	if err := t.active(ctx); err != nil {
		return err
	}
	for _, d := range diffs {
		if d.Field == "PointInTimeRecovery" {
			if err := t.recover(ctx); err != nil {
				return err
			}
			continue
		}
		for _, in := range t.changes(d) {
			in.TableName = &t.Name
			if _, err := t.DynamoDB.UpdateTable(ctx, in); err != nil {
				return failed("set "+d.Field+" of table", t.Name, err)
			}
			if err := t.active(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// changes are the UpdateTable calls that cure one difference, in order.
func (t *Table) changes(d graph.Diff) []*dynamodb.UpdateTableInput {
	switch d.Field {
	case "BillingMode":
		return []*dynamodb.UpdateTableInput{{BillingMode: types.BillingModePayPerRequest}}
	case "KMSMasterKeyId":
		return []*dynamodb.UpdateTableInput{{SSESpecification: t.sse()}}
	case "StreamViewType":
		var calls []*dynamodb.UpdateTableInput
		if d.Got != "" { // the view of a stream is fixed: off, then on again
			off := false
			calls = append(calls, &dynamodb.UpdateTableInput{StreamSpecification: &types.StreamSpecification{StreamEnabled: &off}})
		}
		if t.Stream {
			calls = append(calls, &dynamodb.UpdateTableInput{StreamSpecification: t.stream()})
		}
		return calls
	}
	for _, i := range t.Indexes {
		if d.Field == "Index."+i.Name {
			return []*dynamodb.UpdateTableInput{{
				AttributeDefinitions: t.attributes(),
				GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
					IndexName: &i.Name, KeySchema: t.keySchema(i.Hash, i.Range),
					Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
				}}},
			}}
		}
	}
	return nil
}

func (t *Table) Delete(ctx context.Context) error {
	_, err := t.DynamoDB.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &t.Name})
	if err := deleted("table "+t.Name, err); err != nil {
		return err
	}
	return until(ctx, "deletion of table "+t.Name, func(ctx context.Context) (bool, error) {
		_, err := t.DynamoDB.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.Name})
		if gone(err) {
			t.streamARN = ""
			return true, nil
		}
		return false, err
	})
}
