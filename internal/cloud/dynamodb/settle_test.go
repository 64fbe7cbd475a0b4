package dynamodb

import (
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/store"
)

// TestTablesSettle takes a table through its life, in which every change is in
// effect ten seconds after it was answered.
func TestTablesSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBareRig(t, store.Memory())
		r.Settle = func(latency.Change) time.Duration { return 10 * time.Second }
		name, item := new("tab"), attr.Item{"id": str("x")}
		status := func(what string, want types.TableStatus) {
			t.Helper()
			if got := r.describe("tab").TableStatus; got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		refuses := func(in any, code, text string) {
			t.Helper()
			_, err := do[any](r, in)
			refused(t, err, code, text)
		}
		create := func() { r.create("tab", "id:S", "", globally("byA", "a:S", "", types.ProjectionTypeAll)) }

		create()
		status("made", types.TableStatusCreating)
		if got := r.describe("tab").GlobalSecondaryIndexes[0].IndexStatus; got != types.IndexStatusCreating {
			t.Errorf("its index: %s", got)
		}
		const creating = "Attempt to change a resource which is still in use: Table is being created: tab"
		protect := &sdk.UpdateTableInput{TableName: name, DeletionProtectionEnabled: new(false)}
		refuses(&sdk.PutItemInput{TableName: name, Item: item}, "ResourceNotFoundException", "Requested resource not found")
		refuses(protect, "ResourceInUseException", creating)
		refuses(&sdk.DeleteTableInput{TableName: name}, "ResourceInUseException", creating)
		refuses(&sdk.UpdateTimeToLiveInput{TableName: name, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: new("t"), Enabled: new(true)}}, "ResourceInUseException", creating)
		refuses(&sdk.UpdateContinuousBackupsInput{TableName: name, PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: new(true)}},
			"ContinuousBackupsUnavailableException", "Backups are being enabled for the table: tab. Please retry later")
		time.Sleep(10 * time.Second)
		status("ready", types.TableStatusActive)
		r.put("tab", item)

		must[sdk.UpdateTableOutput](r, protect)
		status("changed", types.TableStatusUpdating)
		r.put("tab", item) // goes on being used
		refuses(protect, "ResourceInUseException", "Attempt to change a resource which is still in use: Table is being updated: tab")
		time.Sleep(10 * time.Second)
		status("changed and ready", types.TableStatusActive)

		must[sdk.DeleteTableOutput](r, &sdk.DeleteTableInput{TableName: name})
		status("deleted", types.TableStatusDeleting)
		refuses(&sdk.PutItemInput{TableName: name, Item: item}, "ResourceNotFoundException", "Requested resource not found")
		again := must[sdk.DeleteTableOutput](r, &sdk.DeleteTableInput{TableName: name})
		if got := again.TableDescription.TableStatus; got != types.TableStatusDeleting {
			t.Errorf("deleted twice: %s", got)
		}
		refuses(&sdk.CreateTableInput{
			TableName: name, BillingMode: types.BillingModePayPerRequest, AttributeDefinitions: []types.AttributeDefinition{define("id:S")},
			KeySchema: []types.KeySchemaElement{{AttributeName: new("id"), KeyType: types.KeyTypeHash}},
		}, "ResourceInUseException", "Attempt to change a resource which is still in use: Table is being deleted: tab")
		time.Sleep(10 * time.Second)
		refuses(&sdk.DescribeTableInput{TableName: name}, "ResourceNotFoundException", "Requested resource not found: Table: tab not found")
		create()
		status("made again", types.TableStatusCreating)
	})
}
