package dynamodb

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Limits of tables.
const (
	maxGlobalIndexes = 20
	maxLocalIndexes  = 5
	maxProjected     = 100 // attributes projected by all indexes together
)

const (
	nameRule    = ` 3..255 [a-zA-Z0-9_.-]+`
	billingRule = "BillingMode PROVISIONED|PAY_PER_REQUEST"
	classRule   = "TableClass STANDARD|STANDARD_INFREQUENT_ACCESS"
	viewRule    = "StreamSpecification.StreamViewType NEW_IMAGE|OLD_IMAGE|NEW_AND_OLD_IMAGES|KEYS_ONLY"
	sseRule     = "SSESpecification.SSEType AES256|KMS"
)

func (s *Service) registerTables(api *wire.API) {
	wire.Handle(api, s.CreateTable, wire.Needs(func(c *wire.Call, in *sdk.CreateTableInput) []authz.Access {
		a := s.access(c, touch{action: c.Op, table: in.TableName})
		a.Context = requestTags(in.Tags)
		all := []authz.Access{a}
		if len(in.Tags) > 0 {
			a.Action = "dynamodb:TagResource"
			all = append(all, a)
		}
		return all
	}), wire.Members("TableName!"+nameRule, "AttributeDefinitions!", "KeySchema! 1..", billingRule, classRule, viewRule, sseRule,
		"AttributeDefinitions[].AttributeName! 1..255", "AttributeDefinitions[].AttributeType! S|N|B",
		"KeySchema[].AttributeName! 1..255", "KeySchema[].KeyType! HASH|RANGE",
		"GlobalSecondaryIndexes[].IndexName!"+nameRule, "GlobalSecondaryIndexes[].KeySchema! 1..", "GlobalSecondaryIndexes[].Projection!",
		"LocalSecondaryIndexes[].IndexName!"+nameRule, "LocalSecondaryIndexes[].KeySchema! 1..", "LocalSecondaryIndexes[].Projection!",
		"ProvisionedThroughput.ReadCapacityUnits! 1..", "ProvisionedThroughput.WriteCapacityUnits! 1..",
		"Tags[].Key! 1..128", "Tags[].Value! 0..256"))
	wire.Handle(api, s.DescribeTable, wire.Members(tableRule), onTable(s, func(in *sdk.DescribeTableInput) *string { return in.TableName }))
	wire.Handle(api, s.UpdateTable, wire.Members(tableRule, billingRule, classRule, viewRule, sseRule,
		"AttributeDefinitions[].AttributeName! 1..255", "AttributeDefinitions[].AttributeType! S|N|B",
		"ProvisionedThroughput.ReadCapacityUnits! 1..", "ProvisionedThroughput.WriteCapacityUnits! 1.."),
		onTable(s, func(in *sdk.UpdateTableInput) *string { return in.TableName }))
	wire.Handle(api, s.DeleteTable, wire.Members(tableRule), onTable(s, func(in *sdk.DeleteTableInput) *string { return in.TableName }))
	wire.Handle(api, s.ListTables, wire.Members("ExclusiveStartTableName"+nameRule, "Limit 1..100"))
}

// CreateTable makes a table. The answer says CREATING, as on AWS; unless tables
// are to settle, it can be used at once.
func (s *Service) CreateTable(ctx context.Context, in *sdk.CreateTableInput) (*sdk.CreateTableOutput, error) {
	c := wire.CallOf(ctx)
	r, err := newTable(in)
	if err != nil {
		return nil, err
	}
	r.Region = c.Region
	if t, err := s.lookup(c.Region, r.Name); err != nil || t != nil {
		return nil, inUse(err, r.Name)
	}
	if t, err := s.deleting(c.Region, r.Name); err != nil || t != nil {
		return nil, errors.Join(err, busy("deleted", r.Name))
	}
	r.changing(s.Settle.Of(latency.TableCreated), false)
	kmsKey, err := kmsKeyOf(in.SSESpecification)
	if err != nil {
		return nil, err
	}
	if r.Encryption, err = s.newEncryption(ctx, r.Region, r.ID, r.Name, kmsKey); err != nil {
		return nil, err
	}
	st := &state{}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		key := tableKey(r.Region, r.Name)
		if _, taken, err := tableRows.Get(tx, key); err != nil || taken {
			return inUse(err, r.Name)
		}
		if sp := in.StreamSpecification; sp != nil && deref(sp.StreamEnabled) {
			if err := s.openStream(tx, &r, st, sp.StreamViewType); err != nil {
				return err
			}
		}
		t := s.derive(r)
		st.version = r.Version
		if err := putState(tx, t.prefix, st); err != nil {
			return err
		}
		tx.OnCommit(s.tables.Forget)
		return tableRows.Put(tx, key, r)
	})
	if err != nil {
		return nil, err
	}
	d := s.description(s.derive(r), st)
	d.TableStatus = types.TableStatusCreating
	for i := range d.GlobalSecondaryIndexes {
		d.GlobalSecondaryIndexes[i].IndexStatus = types.IndexStatusCreating
	}
	return &sdk.CreateTableOutput{TableDescription: d}, nil
}

func inUse(err error, name string) error {
	if err != nil {
		return err
	}
	return &types.ResourceInUseException{Message: new("Table already exists: " + name)}
}

// newTable checks a request to make a table.
func newTable(in *sdk.CreateTableInput) (r tableRow, err error) {
	if in.VectorIndexes != nil {
		return r, invalid("Vector indexes are not supported")
	}
	r = tableRow{
		ID: uuid.NewString(), Name: *in.TableName, Created: time.Now(), Version: 1, Protected: deref(in.DeletionProtectionEnabled),
		OnDemand: in.OnDemandThroughput, Warm: in.WarmThroughput,
	}
	if in.TableClass == types.TableClassStandardInfrequentAccess {
		r.Class = in.TableClass
	}
	if r.Attributes, err = attributesOf(in.AttributeDefinitions); err != nil {
		return r, err
	}
	if r.Schema, err = schemaOf(in.KeySchema, r.Attributes); err != nil {
		return r, err
	}
	if err := r.setBilling(in.BillingMode, in.ProvisionedThroughput); err != nil {
		return r, err
	}
	if err := r.addIndexes(in); err != nil {
		return r, err
	}
	if err := r.checkAttributes(); err != nil {
		return r, err
	}
	if sp := in.StreamSpecification; sp != nil {
		if err := checkStream(sp); err != nil {
			return r, err
		}
	}
	r.Tags, err = withTags(nil, in.Tags)
	return r, err
}

func attributesOf(defs []types.AttributeDefinition) (map[string]string, error) {
	out := map[string]string{}
	for _, d := range defs {
		if _, twice := out[*d.AttributeName]; twice {
			return nil, invalidValue("Duplicate AttributeName in AttributeDefinitions: %s", *d.AttributeName)
		}
		out[*d.AttributeName] = string(d.AttributeType)
	}
	return out, nil
}

// schemaOf reads the key schema of a table or index.
func schemaOf(elements []types.KeySchemaElement, attributes map[string]string) (schema, error) {
	if len(elements) > 2 {
		return schema{}, invalid("1 validation error detected: Value '[...]' at 'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2")
	}
	if elements[0].KeyType != types.KeyTypeHash {
		return schema{}, invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
	}
	out := schema{Hash: deref(elements[0].AttributeName)}
	if len(elements) == 2 {
		out.Range = deref(elements[1].AttributeName)
		if elements[1].KeyType != types.KeyTypeRange {
			return schema{}, invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
		}
		if out.Range == out.Hash {
			return schema{}, invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
		}
	}
	for _, n := range out.names() {
		if attributes[n] == "" {
			return schema{}, invalidValue("Some index key attributes are not defined in AttributeDefinitions. Keys: [%s], AttributeDefinitions: [%s]",
				strings.Join(out.names(), ", "), strings.Join(namesOf(attributes), ", "))
		}
	}
	return out, nil
}

// setBilling sets how the table is paid for.
func (r *tableRow) setBilling(mode types.BillingMode, p *types.ProvisionedThroughput) error {
	switch {
	case mode == types.BillingModePayPerRequest && p != nil:
		return invalidValue("Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	case mode == types.BillingModePayPerRequest:
		r.Billing, r.OnDemandSince, r.Throughput = mode, time.Now(), throughput{}
	case p == nil:
		return invalidValue("ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	default:
		r.Billing, r.Throughput = types.BillingModeProvisioned, throughput{Read: *p.ReadCapacityUnits, Write: *p.WriteCapacityUnits}
	}
	return nil
}

func (r *tableRow) addIndexes(in *sdk.CreateTableInput) error {
	switch {
	case in.LocalSecondaryIndexes != nil && len(in.LocalSecondaryIndexes) == 0:
		return invalidValue("List of LocalSecondaryIndexes is empty")
	case in.GlobalSecondaryIndexes != nil && len(in.GlobalSecondaryIndexes) == 0:
		return invalidValue("List of GlobalSecondaryIndexes is empty")
	case len(in.LocalSecondaryIndexes) > maxLocalIndexes:
		return invalidValue("Number of LocalSecondaryIndexes exceeds per-table limit of %d", maxLocalIndexes)
	case len(in.GlobalSecondaryIndexes) > maxGlobalIndexes:
		return invalidValue("GlobalSecondaryIndex count exceeds the per-table limit of %d", maxGlobalIndexes)
	}
	for _, l := range in.LocalSecondaryIndexes {
		ix, err := r.newIndex(*l.IndexName, l.KeySchema, l.Projection)
		if err != nil {
			return err
		}
		ix.Local = true
		switch {
		case r.Schema.Range == "":
			return invalidValue("Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex")
		case ix.Schema.Hash != r.Schema.Hash:
			return invalidValue("Index KeySchema does not have the same leading hash key as table KeySchema for index: %s. index hash key: %s, table hash key: %s",
				ix.Name, ix.Schema.Hash, r.Schema.Hash)
		case ix.Schema.Range == "":
			return invalidValue("Index KeySchema does not have a range key for index: %s", ix.Name)
		}
		r.Indexes = append(r.Indexes, ix)
	}
	for _, g := range in.GlobalSecondaryIndexes {
		ix, err := r.newIndex(*g.IndexName, g.KeySchema, g.Projection)
		if err != nil {
			return err
		}
		if err := ix.setThroughput(r.Billing, g.ProvisionedThroughput); err != nil {
			return err
		}
		ix.OnDemand = g.OnDemandThroughput
		r.Indexes = append(r.Indexes, ix)
	}
	return nil
}

// newIndex checks the definition of an index.
func (r *tableRow) newIndex(name string, keys []types.KeySchemaElement, p *types.Projection) (ix index, err error) {
	if slices.ContainsFunc(r.Indexes, func(o index) bool { return o.Name == name }) {
		return ix, invalidValue("Duplicate index name: %s", name)
	}
	r.NextIndex++
	ix = index{Name: name, No: r.NextIndex, Projection: p.ProjectionType, NonKey: p.NonKeyAttributes}
	if ix.Schema, err = schemaOf(keys, r.Attributes); err != nil {
		return ix, err
	}
	switch {
	case ix.Projection == "":
		return ix, invalidValue("Unknown ProjectionType: null")
	case !slices.Contains(ix.Projection.Values(), ix.Projection):
		return ix, invalidValue("Unknown ProjectionType: %s", ix.Projection)
	case ix.Projection == types.ProjectionTypeInclude && len(ix.NonKey) == 0:
		return ix, invalidValue("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
	case ix.Projection != types.ProjectionTypeInclude && ix.NonKey != nil:
		return ix, invalidValue("ProjectionType is %s, but NonKeyAttributes is specified", ix.Projection)
	}
	n := len(ix.NonKey)
	for _, o := range r.Indexes {
		n += len(o.NonKey)
	}
	if n > maxProjected {
		return ix, invalidValue("Number of attributes in ProjectionExpression exceeds limit of %d", maxProjected)
	}
	return ix, nil
}

func (ix *index) setThroughput(mode types.BillingMode, p *types.ProvisionedThroughput) error {
	switch {
	case mode == types.BillingModePayPerRequest && p != nil:
		return invalidValue("ProvisionedThroughput should not be specified for index: %s when BillingMode is PAY_PER_REQUEST", ix.Name)
	case mode != types.BillingModePayPerRequest && (p == nil || p.ReadCapacityUnits == nil || p.WriteCapacityUnits == nil):
		return invalidValue("ProvisionedThroughput must be specified for index: %s", ix.Name)
	case p != nil:
		ix.Throughput = throughput{Read: *p.ReadCapacityUnits, Write: *p.WriteCapacityUnits}
	}
	return nil
}

// checkAttributes refuses definitions of attributes that are no key.
func (r *tableRow) checkAttributes() error {
	used := map[string]bool{}
	for _, n := range r.Schema.names() {
		used[n] = true
	}
	for _, ix := range r.Indexes {
		for _, n := range ix.Schema.names() {
			used[n] = true
		}
	}
	if len(used) == len(r.Attributes) {
		return nil
	}
	if len(r.Indexes) == 0 {
		return invalidValue("Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	return invalidValue("Some AttributeDefinitions are not used. AttributeDefinitions: [%s], keys used: [%s]",
		strings.Join(namesOf(r.Attributes), ", "), strings.Join(namesOf(used), ", "))
}

func checkStream(sp *types.StreamSpecification) error {
	switch {
	case sp.StreamEnabled == nil:
		return invalid("1 validation error detected: Value null at 'streamSpecification.streamEnabled' failed to satisfy constraint: Member must not be null")
	case *sp.StreamEnabled && sp.StreamViewType == "":
		return invalidValue("StreamViewType is required when StreamEnabled is true")
	case !*sp.StreamEnabled && sp.StreamViewType != "":
		return invalidValue("StreamViewType should not be specified when StreamEnabled is false")
	}
	return nil
}

// kmsKeyOf is the KMS key that a specification asks for; "" is the cloud's own.
func kmsKeyOf(sp *types.SSESpecification) (string, error) {
	switch {
	case sp == nil:
		return "", nil
	case !deref(sp.Enabled) && (sp.KMSMasterKeyId != nil || sp.SSEType != ""):
		return "", invalidValue("SSESpecification.Enabled must be true when SSEType or KMSMasterKeyId is specified")
	case !deref(sp.Enabled):
		return "", nil
	case sp.SSEType == types.SSETypeAes256:
		return "", invalidValue("SSEType AES256 is not supported")
	case sp.KMSMasterKeyId != nil:
		return *sp.KMSMasterKeyId, nil
	}
	return "alias/aws/dynamodb", nil
}
