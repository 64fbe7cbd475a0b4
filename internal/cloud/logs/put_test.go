package logs

import (
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
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
