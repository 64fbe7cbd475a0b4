package dynamodb

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
)

func (r *rig) describe(table string) *types.TableDescription {
	r.t.Helper()
	return must[sdk.DescribeTableOutput](r, &sdk.DescribeTableInput{TableName: &table}).Table
}

// until waits for background work.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

func TestCreateTableAnswers(t *testing.T) {
	r := newRig(t, store.Memory())
	in := &sdk.CreateTableInput{
		TableName: new("tab"), KeySchema: []types.KeySchemaElement{{AttributeName: new("id"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{define("id:S")}, ProvisionedThroughput: &types.ProvisionedThroughput{ReadCapacityUnits: new(int64(5)), WriteCapacityUnits: new(int64(6))},
		Tags: []types.Tag{{Key: new("k"), Value: new("v")}}, DeletionProtectionEnabled: new(true),
	}
	created := must[sdk.CreateTableOutput](r, in).TableDescription
	d := r.describe("tab")
	if created.TableStatus != types.TableStatusCreating || d.TableStatus != types.TableStatusActive {
		t.Errorf("status %s, then %s; want CREATING, then ACTIVE", created.TableStatus, d.TableStatus)
	}
	if *d.ProvisionedThroughput.ReadCapacityUnits != 5 || *d.ProvisionedThroughput.WriteCapacityUnits != 6 || d.SSEDescription != nil || *d.TableArn != "arn:aws:dynamodb:us-east-1:000000000000:table/tab" {
		t.Errorf("description: %+v", d)
	}
	_, err := do[sdk.CreateTableOutput](r, in)
	refused(t, err, "ResourceInUseException", "Table already exists: tab")
	_, err = do[sdk.DeleteTableOutput](r, &sdk.DeleteTableInput{TableName: new("tab")})
	refused(t, err, validation, "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	must[sdk.UpdateTableOutput](r, &sdk.UpdateTableInput{TableName: d.TableArn, DeletionProtectionEnabled: new(false)})
	gone := must[sdk.DeleteTableOutput](r, &sdk.DeleteTableInput{TableName: new("tab")}).TableDescription
	if gone.TableStatus != types.TableStatusDeleting {
		t.Errorf("status %s, want DELETING", gone.TableStatus)
	}
	_, err = do[sdk.DescribeTableOutput](r, &sdk.DescribeTableInput{TableName: new("tab")})
	refused(t, err, "ResourceNotFoundException", "Requested resource not found: Table: tab not found")
}

func TestBadTables(t *testing.T) {
	r := newRig(t, store.Memory())
	for _, c := range []struct {
		name   string
		change func(*sdk.CreateTableInput)
		want   string
	}{
		{"short name", func(in *sdk.CreateTableInput) { in.TableName = new("ab") }, "1 validation error detected: Value 'ab' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 3"},
		{"no throughput", func(in *sdk.CreateTableInput) { in.BillingMode = "" }, "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"},
		{"throughput on demand", func(in *sdk.CreateTableInput) {
			in.ProvisionedThroughput = &types.ProvisionedThroughput{ReadCapacityUnits: new(int64(1)), WriteCapacityUnits: new(int64(1))}
		}, "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"},
		{"undefined key", func(in *sdk.CreateTableInput) { in.KeySchema[0].AttributeName = new("nope") },
			"One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [nope], AttributeDefinitions: [id]"},
		{"unused definition", func(in *sdk.CreateTableInput) {
			in.AttributeDefinitions = append(in.AttributeDefinitions, define("x:S"))
		},
			"One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions"},
		{"range first", func(in *sdk.CreateTableInput) { in.KeySchema[0].KeyType = types.KeyTypeRange }, "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"},
		{"view of no stream", func(in *sdk.CreateTableInput) {
			in.StreamSpecification = &types.StreamSpecification{StreamEnabled: new(true)}
		},
			"One or more parameter values were invalid: StreamViewType is required when StreamEnabled is true"},
		{"reserved tag", func(in *sdk.CreateTableInput) { in.Tags = []types.Tag{{Key: new("aws:x"), Value: new("")}} },
			"One or more parameter values are not valid. Tag keys that begin with aws: are reserved: aws:x"},
		{"index with unknown projection", globally("by-id", "id:S", "", ""), "One or more parameter values were invalid: Unknown ProjectionType: null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := &sdk.CreateTableInput{
				TableName: new("tab"), BillingMode: types.BillingModePayPerRequest, AttributeDefinitions: []types.AttributeDefinition{define("id:S")},
				KeySchema: []types.KeySchemaElement{{AttributeName: new("id"), KeyType: types.KeyTypeHash}},
			}
			c.change(in)
			_, err := do[sdk.CreateTableOutput](r, in)
			refused(t, err, validation, c.want)
		})
	}
}

func TestListTablesPages(t *testing.T) {
	r := newRig(t, store.Memory())
	for i := range 5 {
		r.create(fmt.Sprint("tab", i), "id:S", "")
	}
	var got []string
	var start *string
	for first := true; first || start != nil; first = false {
		out := must[sdk.ListTablesOutput](r, &sdk.ListTablesInput{Limit: new(int32(2)), ExclusiveStartTableName: start})
		got, start = append(got, out.TableNames...), out.LastEvaluatedTableName
	}
	equal(t, "tables", []string{"tab0", "tab1", "tab2", "tab3", "tab4"}, got)
}

func TestIndexOfExistingItems(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	const n = 3 * chunk
	for i := range n {
		item := attr.Item{"id": str(fmt.Sprint(i)), "kind": str("k")}
		if i%3 == 0 {
			item["kind"] = num("1") // cannot be a key of the index
		}
		r.put("tab", item)
	}
	must[sdk.UpdateTableOutput](r, &sdk.UpdateTableInput{
		TableName: new("tab"), AttributeDefinitions: []types.AttributeDefinition{define("kind:S")},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: new("by-kind"), KeySchema: []types.KeySchemaElement{{AttributeName: new("kind"), KeyType: types.KeyTypeHash}}, Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}}},
	})
	// Writers go on while the index is being filled.
	for i := range 40 {
		must[sdk.DeleteItemOutput](r, &sdk.DeleteItemInput{TableName: new("tab"), Key: attr.Item{"id": str(fmt.Sprint(3*i + 1))}})
		r.put("tab", attr.Item{"id": str(fmt.Sprint("new", i)), "kind": str("k")})
	}
	until(t, "the index", func() bool { return r.describe("tab").GlobalSecondaryIndexes[0].IndexStatus == types.IndexStatusActive })
	want := n - n/3
	d := r.describe("tab").GlobalSecondaryIndexes[0]
	got := must[sdk.QueryOutput](r, &sdk.QueryInput{
		TableName: new("tab"), IndexName: new("by-kind"), KeyConditionExpression: new("kind = :k"), ExpressionAttributeValues: attr.Item{":k": str("k")}, Select: types.SelectCount,
	})
	if int(got.Count) != want || int(*d.ItemCount) != want {
		t.Errorf("index has %d items and counts %d, want %d", got.Count, *d.ItemCount, want)
	}
	must[sdk.UpdateTableOutput](r, &sdk.UpdateTableInput{TableName: new("tab"), GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Delete: &types.DeleteGlobalSecondaryIndexAction{IndexName: new("by-kind")}}}})
	if d := r.describe("tab"); d.GlobalSecondaryIndexes != nil || len(d.AttributeDefinitions) != 1 {
		t.Errorf("after deleting the index: %+v", d)
	}
	must[sdk.DeleteTableOutput](r, &sdk.DeleteTableInput{TableName: new("tab")})
	until(t, "the purge", func() bool { return len(r.left()) == 0 })
}

func TestTransactionsAreAllOrNothing(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	r.put("tab", attr.Item{"id": str("a"), "n": num("1")})
	put := func(id string) types.TransactWriteItem {
		return types.TransactWriteItem{Put: &types.Put{TableName: new("tab"), Item: attr.Item{"id": str(id)}}}
	}
	check := func(condition string) types.TransactWriteItem {
		return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName: new("tab"), Key: attr.Item{"id": str("a")}, ConditionExpression: &condition, ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}}
	}
	transact := func(token *string, items ...types.TransactWriteItem) error {
		_, err := do[sdk.TransactWriteItemsOutput](r, &sdk.TransactWriteItemsInput{TransactItems: items, ClientRequestToken: token})
		return err
	}
	err := transact(nil, put("b"), check("attribute_not_exists(id)"))
	refused(t, err, "TransactionCanceledException", "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]")
	if e, ok := errors.AsType[*types.TransactionCanceledException](err); ok {
		equal(t, "item of the reason", attr.Item{"id": str("a"), "n": num("1")}, e.CancellationReasons[1].Item)
	}
	if r.item("tab", attr.Item{"id": str("b")}) != nil {
		t.Error("a cancelled transaction wrote an item")
	}
	refused(t, transact(nil, put("b"), put("b")), validation, "Transaction request cannot include multiple operations on one item")
	refused(t, transact(nil, types.TransactWriteItem{}), validation, "TransactItems can only contain one of Check, Put, Update or Delete")
	add := types.TransactWriteItem{Update: &types.Update{TableName: new("tab"), Key: attr.Item{"id": str("a")}, UpdateExpression: new("ADD n :one"), ExpressionAttributeValues: attr.Item{":one": num("1")}}}
	for range 3 {
		if err := transact(new("token"), add, put("c")); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "item after one transaction sent thrice", attr.Item{"id": str("a"), "n": num("2")}, r.item("tab", attr.Item{"id": str("a")}))
	if _, ok := errors.AsType[*types.IdempotentParameterMismatchException](transact(new("token"), put("d"))); !ok {
		t.Error("another transaction with the same token is no IdempotentParameterMismatchException")
	}
	out := must[sdk.TransactGetItemsOutput](r, &sdk.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
		{Get: &types.Get{TableName: new("tab"), Key: attr.Item{"id": str("nope")}}}, {Get: &types.Get{TableName: new("tab"), Key: attr.Item{"id": str("a")}, ProjectionExpression: new("n")}},
	}, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal})
	if out.Responses[0].Item != nil || *out.ConsumedCapacity[0].CapacityUnits != 4 {
		t.Errorf("responses %v, capacity %v", out.Responses, *out.ConsumedCapacity[0].CapacityUnits)
	}
	equal(t, "projected item", attr.Item{"n": num("2")}, out.Responses[1].Item)
}

func TestBatches(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	var writes []types.WriteRequest
	var keys []map[string]types.AttributeValue
	for i := range 25 {
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: attr.Item{"id": str(fmt.Sprint(i))}}})
		keys = append(keys, attr.Item{"id": str(fmt.Sprint(i))})
	}
	write := func(w []types.WriteRequest) error {
		_, err := do[sdk.BatchWriteItemOutput](r, &sdk.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"tab": w}})
		return err
	}
	if err := write(writes); err != nil {
		t.Fatal(err)
	}
	refused(t, write(append(writes, writes[0])), validation, "Too many items requested for the BatchWriteItem call")
	refused(t, write(append(writes[:2:2], writes[0])), validation, "Provided list of item keys contains duplicates")
	out := must[sdk.BatchGetItemOutput](r, &sdk.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"tab": {Keys: append(keys, attr.Item{"id": str("nope")})}}})
	if len(out.Responses["tab"]) != 25 || len(out.UnprocessedKeys) != 0 {
		t.Errorf("%d items, %d unprocessed", len(out.Responses["tab"]), len(out.UnprocessedKeys))
	}
}

func TestTags(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	arn := r.describe("tab").TableArn
	must[sdk.TagResourceOutput](r, &sdk.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}})
	must[sdk.UntagResourceOutput](r, &sdk.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a"}})
	if err := r.SetTags(t.Context(), *arn, map[string]string{"c": "3"}, []string{"b"}); err != nil {
		t.Fatal(err)
	}
	got, err := r.Tagged(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "tags", map[string]map[string]string{*arn: {"c": "3"}}, got)
	_, err = do[sdk.ListTagsOfResourceOutput](r, &sdk.ListTagsOfResourceInput{ResourceArn: new("arn:aws:dynamodb:us-east-1:000000000000:table/nope")})
	refused(t, err, "ResourceNotFoundException", "Requested resource not found: ResourcArn: arn:aws:dynamodb:us-east-1:000000000000:table/nope not found")
}

func TestPointInTimeRecovery(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	on := must[sdk.UpdateContinuousBackupsOutput](r, &sdk.UpdateContinuousBackupsInput{TableName: new("tab"), PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: new(true)}})
	d := must[sdk.DescribeContinuousBackupsOutput](r, &sdk.DescribeContinuousBackupsInput{TableName: new("tab")}).ContinuousBackupsDescription
	p := d.PointInTimeRecoveryDescription
	if p.PointInTimeRecoveryStatus != types.PointInTimeRecoveryStatusEnabled || *p.RecoveryPeriodInDays != 35 || p.LatestRestorableDateTime.Before(*p.EarliestRestorableDateTime) || on.ContinuousBackupsDescription == nil {
		t.Errorf("description: %+v", p)
	}
	_, err := do[sdk.DescribeContinuousBackupsOutput](r, &sdk.DescribeContinuousBackupsInput{TableName: new("nope")})
	refused(t, err, "TableNotFoundException", "Table not found: nope")
}

// open opens a durable store in a folder.
func open(t testing.TB, dir string) store.DB {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(filepath.Join(dir, "cloud.db"), seal)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestTablesSurviveRestart(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	r := newBareRig(t, db)
	r.create("tab", "id:S", "rk:N", streaming(types.StreamViewTypeNewImage), encrypted(""))
	r.put("tab", attr.Item{"id": str("a"), "rk": num("1"), "x": str(strings.Repeat("x", 100))})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r = newBareRig(t, open(t, dir))
	if got := r.item("tab", attr.Item{"id": str("a"), "rk": num("1.0")}); len(got) != 3 {
		t.Errorf("item after a restart: %v", got)
	}
	if n := len(r.records("tab")); n != 1 {
		t.Errorf("%d records after a restart, want 1", n)
	}
}
