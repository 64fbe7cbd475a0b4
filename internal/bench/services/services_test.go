package services_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"miniforge/internal/bench/services"
	"miniforge/internal/cloud"
)

func newServices(t *testing.T) *services.Bench {
	t.Helper()
	c, err := cloud.New(t.Context(), cloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &services.Bench{
		Prefix: "test-bench-x", Tags: map[string]string{"miniforge:stack": "test"}, Clients: 4, Duration: 30 * time.Millisecond,
		Config: aws.Config{
			Region: c.Region, BaseEndpoint: aws.String("http://cloud.test"), HTTPClient: &http.Client{Transport: c.Transport()},
			Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
		},
	}
}

// left lists what is in the account, apart from keys that wait for deletion.
func left(t *testing.T, cfg aws.Config) (found []string) {
	t.Helper()
	add := func(n int, what string, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			found = append(found, fmt.Sprint(n, " ", what))
		}
	}
	ctx := t.Context()
	tables, err := dynamodb.NewFromConfig(cfg).ListTables(ctx, &dynamodb.ListTablesInput{})
	add(len(tables.TableNames), "tables", err)
	queues, err := sqs.NewFromConfig(cfg).ListQueues(ctx, &sqs.ListQueuesInput{})
	add(len(queues.QueueUrls), "queues", err)
	buses, err := eventbridge.NewFromConfig(cfg).ListEventBuses(ctx, &eventbridge.ListEventBusesInput{})
	add(len(buses.EventBuses)-1, "buses", err) // there is always a default one
	machines, err := sfn.NewFromConfig(cfg).ListStateMachines(ctx, &sfn.ListStateMachinesInput{})
	add(len(machines.StateMachines), "machines", err)
	roles, err := iam.NewFromConfig(cfg).ListRoles(ctx, &iam.ListRolesInput{})
	add(len(roles.Roles), "roles", err)
	groups, err := cloudwatchlogs.NewFromConfig(cfg).DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{})
	add(len(groups.LogGroups), "log groups", err)
	buckets, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(ctx, &s3.ListBucketsInput{})
	add(len(buckets.Buckets), "buckets", err)
	tagged, err := resourcegroupstaggingapi.NewFromConfig(cfg).GetResources(ctx, &resourcegroupstaggingapi.GetResourcesInput{})
	add(len(tagged.ResourceTagMappingList), "tagged", err)
	keys, err := kms.NewFromConfig(cfg).ListKeys(ctx, &kms.ListKeysInput{})
	for _, k := range keys.Keys {
		d, derr := kms.NewFromConfig(cfg).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
		if derr == nil && d.KeyMetadata.KeyState != kmstypes.KeyStatePendingDeletion && d.KeyMetadata.KeyManager == kmstypes.KeyManagerTypeCustomer {
			add(1, "key", derr)
		}
	}
	add(0, "", err)
	return found
}

func TestEachServiceIsMeasuredAndLeavesNothing(t *testing.T) {
	s := newServices(t)
	for _, name := range services.Names() {
		t.Run(name, func(t *testing.T) {
			results, err := s.Measure(t.Context(), name)
			if name == "lambda" { // nothing to invoke
				if !errors.Is(err, services.ErrSkipped) {
					t.Errorf("error = %v", err)
				}
				return
			}
			if err != nil || len(results) == 0 {
				t.Fatalf("%+v, %v", results, err)
			}
			for _, r := range results {
				if r.Service != name || r.Latency.Count == 0 || r.PerSecond <= 0 || r.Errors > 0 {
					t.Errorf("%+v", r)
				}
			}
			if found := left(t, s.Config); len(found) > 0 {
				t.Errorf("left: %v", found)
			}
		})
	}
	if _, err := s.Measure(t.Context(), "ec2"); err == nil {
		t.Error("an unknown service is no error")
	}
}

// TestInterruptedMeasurementLeavesNothing has somebody press Ctrl-C.
func TestInterruptedMeasurementLeavesNothing(t *testing.T) {
	s := newServices(t)
	s.Duration = time.Hour
	for _, name := range services.Names() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		_, err := s.Measure(ctx, name)
		cancel()
		if err == nil {
			t.Errorf("%s: the interruption is not told", name)
		}
		if found := left(t, s.Config); len(found) > 0 {
			t.Errorf("%s left: %v", name, found)
		}
	}
}
