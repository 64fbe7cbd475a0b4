package sqs

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
)

func TestPurgeOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", nil)
		r.put(u, "a")
		purge := func() error { return last(r.PurgeQueue(r.ctx, &sdk.PurgeQueueInput{QueueUrl: u})) }
		if err := purge(); err != nil {
			t.Fatal(err)
		}
		r.expect(u)
		if err := purge(); code(err) != "PurgeQueueInProgress" {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if err := purge(); err != nil {
			t.Error(err)
		}
	})
}

func TestListQueuesPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 5 {
			r.make(fmt.Sprint("p", i), nil)
		}
		r.make("other", nil)
		var got []string
		in := &sdk.ListQueuesInput{QueueNamePrefix: new("p"), MaxResults: new(int32(2))}
		for {
			out, err := r.ListQueues(r.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, out.QueueUrls...)
			if in.NextToken = out.NextToken; in.NextToken == nil {
				break
			}
		}
		if len(got) != 5 || !strings.HasSuffix(got[4], "/000000000000/p4") {
			t.Errorf("%q", got)
		}
	})
}

func TestNamesRestAfterDeletionWhereAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		again := func() error {
			_, err := r.CreateQueue(r.ctx, &sdk.CreateQueueInput{QueueName: new("q")})
			return err
		}
		remove := func() {
			if _, err := r.DeleteQueue(r.ctx, &sdk.DeleteQueueInput{QueueUrl: r.make("q", nil)}); err != nil {
				t.Fatal(err)
			}
		}
		remove()
		if err := again(); err != nil {
			t.Error(err)
		}
		r.Reuse = time.Minute
		remove()
		if err := again(); code(err) != "QueueDeletedRecently" {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if err := again(); err != nil {
			t.Error(err)
		}
	})
}
