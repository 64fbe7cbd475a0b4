package dynamodb

import (
	"errors"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
)

const validation = "ValidationException"

func TestPutGetDelete(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	item := attr.Item{
		"id": str("a"), "n": num("001.50e1"), "set": &attr.NS{Value: []string{"1.0", "2"}}, "b": &attr.B{Value: []byte{0, 1}},
		"m": &attr.M{Value: attr.Item{"l": &attr.L{Value: []attr.Value{&attr.Null{Value: true}, &attr.Bool{Value: true}}}}}, "e": str(""),
	}
	r.put("tab", item)
	want := attr.CloneItem(item)
	want["n"], want["set"] = num("15"), &attr.NS{Value: []string{"1", "2"}}
	key := attr.Item{"id": str("a")}
	equal(t, "item", want, r.item("tab", key))

	old := must[sdk.PutItemOutput](r, &sdk.PutItemInput{TableName: new("tab"), Item: attr.Item{"id": str("a"), "x": num("1")}, ReturnValues: types.ReturnValueAllOld})
	equal(t, "replaced item", want, old.Attributes)
	gone := must[sdk.DeleteItemOutput](r, &sdk.DeleteItemInput{TableName: new("tab"), Key: key, ReturnValues: types.ReturnValueAllOld})
	equal(t, "deleted item", attr.Item{"id": str("a"), "x": num("1")}, gone.Attributes)
	if got := r.item("tab", key); got != nil {
		t.Errorf("deleted item is there: %v", got)
	}
	again := must[sdk.DeleteItemOutput](r, &sdk.DeleteItemInput{TableName: new("tab"), Key: key, ReturnValues: types.ReturnValueAllOld})
	equal(t, "attributes of nothing", attr.Item(nil), again.Attributes)
}

func TestBadItems(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "rk:N", globally("by-status", "status:S", "", types.ProjectionTypeAll))
	with := func(name string, v attr.Value) attr.Item {
		i := attr.Item{"id": str("a"), "rk": num("1")}
		if v == nil {
			delete(i, name)
		} else {
			i[name] = v
		}
		return i
	}
	for _, c := range []struct {
		name string
		item attr.Item
		want string
	}{
		{"missing key", with("rk", nil), "One or more parameter values were invalid: Missing the key rk in the item"},
		{"key of another type", with("id", num("1")), "One or more parameter values were invalid: Type mismatch for key id expected: S actual: N"},
		{"empty key", with("id", str("")), "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: id"},
		{"index key of another type", with("status", num("1")), "One or more parameter values were invalid: Type mismatch for Index Key status Expected: S Actual: N IndexName: by-status"},
		{"empty index key", with("status", str("")), "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: by-status, IndexKey: status"},
		{"no number", with("n", num("dog")), "The parameter cannot be converted to a numeric value: dog"},
		{"empty number", with("n", num("")), "The parameter cannot be converted to a numeric value"},
		{"too many digits", with("n", num(strings.Repeat("1", 39))), "Attempting to store more than 38 significant digits in a Number"},
		{"large number", with("n", num("1e126")), "Number overflow. Attempting to store a number with magnitude larger than supported range"},
		{"small number", with("n", num("1e-131")), "Number underflow. Attempting to store a number with magnitude smaller than supported range"},
		{"empty set", with("s", &attr.SS{}), "One or more parameter values were invalid: An string set  may not be empty"},
		{"twice in a set", with("s", &attr.SS{Value: []string{"a", "a"}}), "One or more parameter values were invalid: Input collection [a, a] contains duplicates."},
		{"equal numbers in a set", with("s", &attr.NS{Value: []string{"1", "1.0"}}), "Input collection contains duplicates"},
		{"false null", with("s", &attr.Null{}), "One or more parameter values were invalid: Null attribute value types must have the value of true"},
		{"too large", with("s", str(strings.Repeat("x", attr.MaxItem))), "Item size has exceeded the maximum allowed size"},
		{"long partition key", with("id", str(strings.Repeat("x", 2049))), "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := do[sdk.PutItemOutput](r, &sdk.PutItemInput{TableName: new("tab"), Item: c.item})
			refused(t, err, validation, c.want)
		})
	}
	_, err := do[sdk.PutItemOutput](r, &sdk.PutItemInput{TableName: new("none"), Item: attr.Item{}})
	refused(t, err, "ResourceNotFoundException", "Requested resource not found")
	_, err = do[sdk.GetItemOutput](r, &sdk.GetItemInput{TableName: new("tab"), Key: attr.Item{"id": str("a")}})
	refused(t, err, validation, "The provided key element does not match the schema")
	_, err = do[sdk.GetItemOutput](r, &sdk.GetItemInput{TableName: new("tab")})
	refused(t, err, validation, "1 validation error detected: Value null at 'key' failed to satisfy constraint: Member must not be null")
}

func TestConditions(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	put := func(condition string, show types.ReturnValuesOnConditionCheckFailure) error {
		_, err := do[sdk.PutItemOutput](r, &sdk.PutItemInput{
			TableName: new("tab"), Item: attr.Item{"id": str("a")}, ConditionExpression: &condition, ReturnValuesOnConditionCheckFailure: show,
		})
		return err
	}
	if err := put("attribute_not_exists(id)", ""); err != nil {
		t.Fatal(err)
	}
	err := put("attribute_not_exists(id)", types.ReturnValuesOnConditionCheckFailureAllOld)
	refused(t, err, "ConditionalCheckFailedException", "The conditional request failed")
	if e, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		equal(t, "item that failed the condition", attr.Item{"id": str("a")}, e.Item)
	}
	if e, ok := errors.AsType[*types.ConditionalCheckFailedException](put("attribute_not_exists(id)", "")); !ok || e.Item != nil {
		t.Errorf("item is shown without being asked for: %v", e)
	}
}

func TestReturnValuesOfUpdates(t *testing.T) {
	before := attr.Item{"id": str("a"), "n": num("1"), "m": &attr.M{Value: attr.Item{"x": num("1"), "y": num("2")}}}
	for _, c := range []struct {
		values types.ReturnValue
		want   attr.Item
	}{
		{types.ReturnValueNone, nil},
		{types.ReturnValueAllOld, before},
		{types.ReturnValueAllNew, attr.Item{"id": str("a"), "n": num("2"), "m": &attr.M{Value: attr.Item{"x": num("9"), "y": num("2")}}, "new": str("v")}},
		{types.ReturnValueUpdatedOld, attr.Item{"n": num("1"), "m": &attr.M{Value: attr.Item{"x": num("1")}}}},
		{types.ReturnValueUpdatedNew, attr.Item{"n": num("2"), "m": &attr.M{Value: attr.Item{"x": num("9")}}, "new": str("v")}},
	} {
		t.Run(string(c.values), func(t *testing.T) {
			r := newRig(t, store.Memory())
			r.create("tab", "id:S", "")
			r.put("tab", before)
			out := must[sdk.UpdateItemOutput](r, &sdk.UpdateItemInput{
				TableName: new("tab"), Key: attr.Item{"id": str("a")}, UpdateExpression: new("SET n = n + :one, m.x = :nine, #new = :v"),
				ExpressionAttributeNames:  map[string]string{"#new": "new"},
				ExpressionAttributeValues: attr.Item{":one": num("1"), ":nine": num("9"), ":v": str("v")}, ReturnValues: c.values,
			})
			equal(t, "attributes", c.want, out.Attributes)
		})
	}
}

func TestUpdateMakesItem(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "", globally("by-status", "status:S", "", types.ProjectionTypeAll))
	update := func(expression string, values attr.Item) error {
		_, err := do[sdk.UpdateItemOutput](r, &sdk.UpdateItemInput{
			TableName: new("tab"), Key: attr.Item{"id": str("a")}, UpdateExpression: &expression, ExpressionAttributeValues: values,
			ExpressionAttributeNames: map[string]string{"#s": "status"},
		})
		return err
	}
	if err := update("SET #s = :s ADD n :one", attr.Item{":s": str("x"), ":one": num("1")}); err != nil {
		t.Fatal(err)
	}
	equal(t, "item", attr.Item{"id": str("a"), "status": str("x"), "n": num("1")}, r.item("tab", attr.Item{"id": str("a")}))
	refused(t, update("SET #s = :s", attr.Item{":s": num("1")}), validation,
		"One or more parameter values were invalid: The update expression attempted to update the secondary index key to unsupported type")
	refused(t, update("SET id = #s", nil), validation, "One or more parameter values were invalid: Cannot update attribute id. This attribute is part of the key")
	refused(t, update("SET big = :b, #s = #s", attr.Item{":b": str(strings.Repeat("x", attr.MaxItem))}), validation, "Item size to update has exceeded the maximum allowed size")
}

func TestPlaceholdersWithoutExpressions(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	key := attr.Item{"id": str("a")}
	_, err := do[sdk.PutItemOutput](r, &sdk.PutItemInput{TableName: new("tab"), Item: key, ExpressionAttributeValues: attr.Item{":a": str("")}})
	refused(t, err, validation, "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null")
	_, err = do[sdk.UpdateItemOutput](r, &sdk.UpdateItemInput{TableName: new("tab"), Key: key, ExpressionAttributeValues: attr.Item{":a": str("")}})
	refused(t, err, validation, "ExpressionAttributeValues can only be specified when using expressions: UpdateExpression and ConditionExpression are null")
	_, err = do[sdk.GetItemOutput](r, &sdk.GetItemInput{TableName: new("tab"), Key: key, ExpressionAttributeNames: map[string]string{"#a": "a"}})
	refused(t, err, validation, "ExpressionAttributeNames can only be specified when using expressions")
	_, err = do[sdk.UpdateItemOutput](r, &sdk.UpdateItemInput{
		TableName: new("tab"), Key: key, UpdateExpression: new("REMOVE a"), AttributeUpdates: map[string]types.AttributeValueUpdate{"a": {Value: num("1")}},
	})
	refused(t, err, validation, "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {AttributeUpdates} Expression parameters: {UpdateExpression}")
}

func TestLegacyParameters(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	key := attr.Item{"id": str("a")}
	update := func(expected map[string]types.ExpectedAttributeValue) error {
		_, err := do[sdk.UpdateItemOutput](r, &sdk.UpdateItemInput{
			TableName: new("tab"), Key: key, Expected: expected,
			AttributeUpdates: map[string]types.AttributeValueUpdate{"n": {Action: types.AttributeActionAdd, Value: num("2")}, "s": {Value: str("x")}, "gone": {Action: types.AttributeActionDelete}},
		})
		return err
	}
	if err := update(map[string]types.ExpectedAttributeValue{"id": {Exists: new(false)}}); err != nil {
		t.Fatal(err)
	}
	if err := update(map[string]types.ExpectedAttributeValue{"n": {ComparisonOperator: types.ComparisonOperatorGe, AttributeValueList: []attr.Value{num("2")}}}); err != nil {
		t.Fatal(err)
	}
	refused(t, update(map[string]types.ExpectedAttributeValue{"n": {Value: num("2")}}), "ConditionalCheckFailedException", "The conditional request failed")
	equal(t, "item", attr.Item{"id": str("a"), "n": num("4"), "s": str("x")}, r.item("tab", key))
	got := must[sdk.GetItemOutput](r, &sdk.GetItemInput{TableName: new("tab"), Key: key, AttributesToGet: []string{"n"}})
	equal(t, "attributes", attr.Item{"n": num("4")}, got.Item)
}

func TestConsumedCapacity(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "", globally("by-status", "status:S", "", types.ProjectionTypeKeysOnly))
	out := must[sdk.PutItemOutput](r, &sdk.PutItemInput{
		TableName: new("tab"), Item: attr.Item{"id": str("a"), "status": str("x"), "pad": str(strings.Repeat("p", 2000))}, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes,
	})
	c := out.ConsumedCapacity
	if *c.CapacityUnits != 3 || *c.Table.CapacityUnits != 2 || *c.GlobalSecondaryIndexes["by-status"].CapacityUnits != 1 {
		t.Errorf("put consumed %v, of the table %v, of the index %v; want 3, 2, 1", *c.CapacityUnits, *c.Table.CapacityUnits, *c.GlobalSecondaryIndexes["by-status"].CapacityUnits)
	}
	for consistent, want := range map[bool]float64{false: .5, true: 1} {
		got := must[sdk.GetItemOutput](r, &sdk.GetItemInput{TableName: new("tab"), Key: attr.Item{"id": str("a")}, ConsistentRead: &consistent, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal})
		if n := *got.ConsumedCapacity.CapacityUnits; n != want {
			t.Errorf("get with consistent=%v consumed %v, want %v", consistent, n, want)
		}
	}
}
