package logs

import (
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/store"
)

// What is remembered of a group is forgotten as soon as it changes.
func TestPutLogEventsSeesTheGroupAsItIs(t *testing.T) {
	f := start(t)
	put := func() error {
		_, err := f.PutLogEvents(f.ctx, &sdk.PutLogEventsInput{
			LogGroupName: new("g"), LogStreamName: new("s"), LogEvents: []types.InputLogEvent{{Timestamp: new(time.Now().UnixMilli()), Message: new("x")}},
		})
		return err
	}
	f.group("g", "")
	f.stream("g", "s")
	if err := put(); err != nil || len(f.kms.asked) > 0 {
		t.Errorf("without a key: %v, KMS was asked %d times", err, len(f.kms.asked))
	}
	must[*sdk.AssociateKmsKeyOutput](t)(f.AssociateKmsKey(f.ctx, &sdk.AssociateKmsKeyInput{LogGroupName: new("g"), KmsKeyId: new("k")}))
	if err := put(); err != nil || len(f.kms.asked) != 2 {
		t.Errorf("with a new key: %v, KMS was asked %d times", err, len(f.kms.asked))
	}
	f.kms.off = true
	if err := put(); err == nil {
		t.Error("events were taken while the key is off")
	}
	must[*sdk.DeleteLogGroupOutput](t)(f.DeleteLogGroup(f.ctx, &sdk.DeleteLogGroupInput{LogGroupName: new("g")}))
	wantCode(t, put(), "ResourceNotFoundException", "log group")
	f.group("g", "")
	f.stream("g", "s")
	if err := put(); err != nil {
		t.Errorf("made again: %v", err)
	}
}

// A transaction sees changes that are not committed yet.
func TestCurrentGroup(t *testing.T) {
	f := start(t)
	f.group("g", "")
	g := must[*knownGroup](t)(f.known("us-east-1", "g"))
	err := f.DB.Update(f.ctx, func(tx *store.Tx) error {
		if now, err := g.current(tx); err != nil || now != g {
			t.Errorf("unchanged: %+v, %v", now, err)
		}
		changed := g.groupRow
		changed.Retention = 7
		if err := groups.Put(tx, "us-east-1/g", changed); err != nil {
			return err
		}
		if now, err := g.current(tx); err != nil || now.Retention != 7 {
			t.Errorf("changed: %+v, %v", now, err)
		}
		if err := groups.Delete(tx, "us-east-1/g"); err != nil {
			return err
		}
		_, err := g.current(tx)
		wantCode(t, err, "ResourceNotFoundException", "log group")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
