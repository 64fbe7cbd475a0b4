package resource

import (
	"testing"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	events "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/graph"
)

func fields(diffs []graph.Diff) (out []string) {
	for _, d := range diffs {
		out = append(out, d.Field)
	}
	return out
}

// change returns a copy of what conforms with one thing changed.
type change[T any] struct {
	spoil func(*T)
	want  []string
}

func checkDrift[T any](t *testing.T, conforming func() T, compare func(T) []graph.Diff, changes map[string]change[T]) {
	t.Helper()
	if d := compare(conforming()); len(d) > 0 {
		t.Fatalf("what conforms drifts: %v", d)
	}
	for name, c := range changes {
		t.Run(name, func(t *testing.T) {
			got := conforming()
			c.spoil(&got)
			if d := cmp.Diff(c.want, fields(compare(got))); d != "" {
				t.Errorf("fields (-want +got):\n%s", d)
			}
		})
	}
}

func TestTableDrift(t *testing.T) {
	key := &Key{arn: "arn:key"}
	table := &Table{Name: "orders", Hash: "order_id", Stream: true, Key: key, Indexes: []Index{{Name: "by-status", Hash: "status", Range: "created_at"}}}
	type seen struct {
		table    ddb.TableDescription
		recovery ddb.PointInTimeRecoveryStatus
	}
	conforming := func() seen {
		return seen{recovery: "ENABLED", table: ddb.TableDescription{
			TableStatus: "ACTIVE", KeySchema: table.keySchema("order_id", ""),
			BillingModeSummary:     &ddb.BillingModeSummary{BillingMode: "PAY_PER_REQUEST"},
			SSEDescription:         &ddb.SSEDescription{SSEType: "KMS", KMSMasterKeyArn: new("arn:key")},
			StreamSpecification:    &ddb.StreamSpecification{StreamEnabled: new(true), StreamViewType: "NEW_AND_OLD_IMAGES"},
			GlobalSecondaryIndexes: []ddb.GlobalSecondaryIndexDescription{{IndexName: new("by-status"), KeySchema: table.keySchema("status", "created_at")}},
		}}
	}
	compare := func(s seen) []graph.Diff { return table.compare(&s.table, s.recovery) }
	checkDrift(t, conforming, compare, map[string]change[seen]{
		"other key":       {func(s *seen) { s.table.SSEDescription.KMSMasterKeyArn = new("arn:other") }, []string{"KMSMasterKeyId"}},
		"no encryption":   {func(s *seen) { s.table.SSEDescription = nil }, []string{"KMSMasterKeyId"}},
		"keys-only view":  {func(s *seen) { s.table.StreamSpecification.StreamViewType = "KEYS_ONLY" }, []string{"StreamViewType"}},
		"no stream":       {func(s *seen) { s.table.StreamSpecification = nil }, []string{"StreamViewType"}},
		"no recovery":     {func(s *seen) { s.recovery = "DISABLED" }, []string{"PointInTimeRecovery"}},
		"provisioned":     {func(s *seen) { s.table.BillingModeSummary.BillingMode = "PROVISIONED" }, []string{"BillingMode"}},
		"no index":        {func(s *seen) { s.table.GlobalSecondaryIndexes = nil }, []string{"Index.by-status"}},
		"other hash key":  {func(s *seen) { s.table.KeySchema = table.keySchema("id", "") }, []string{"KeySchema"}},
		"still creating":  {func(s *seen) { s.table.TableStatus = "CREATING" }, []string{"TableStatus"}},
		"an update is ok": {func(s *seen) { s.table.TableStatus = "UPDATING" }, nil},
	})
	other := conforming()
	other.table.KeySchema = table.keySchema("id", "")
	if d := compare(other); !d[0].Replace {
		t.Error("a key schema cannot be changed in place")
	}
}

func TestFunctionDrift(t *testing.T) {
	zip := []byte("package")
	f := &Function{Name: "f", Role: &Role{ARN: "arn:role"}, Architecture: "arm64", Timeout: 5 * time.Second, Memory: 128, Environment: map[string]string{"T": "orders"}, Zip: zip}
	conforming := func() version {
		return version{role: "arn:role", handler: "bootstrap", runtime: "provided.al2023", timeout: 5, memory: 128, sha: CodeSha256(zip),
			architectures: []types.Architecture{"arm64"}, environment: &types.EnvironmentResponse{Variables: map[string]string{"T": "orders"}}}
	}
	compare := func(v version) []graph.Diff { return f.compare(v) }
	checkDrift(t, conforming, compare, map[string]change[version]{
		"role":             {func(v *version) { v.role = "x" }, []string{"Role"}},
		"handler":          {func(v *version) { v.handler = "x" }, []string{"Handler"}},
		"runtime":          {func(v *version) { v.runtime = "go1.x" }, []string{"Runtime"}},
		"timeout":          {func(v *version) { v.timeout = 3 }, []string{"Timeout"}},
		"memory":           {func(v *version) { v.memory = 512 }, []string{"MemorySize"}},
		"code":             {func(v *version) { v.sha = "x" }, []string{"CodeSha256"}},
		"no variables":     {func(v *version) { v.environment = nil }, []string{"Environment.T"}},
		"added variable":   {func(v *version) { v.environment.Variables["X"] = "1" }, []string{"Environment.X"}},
		"changed variable": {func(v *version) { v.environment.Variables["T"] = "1" }, []string{"Environment.T"}},
		"architecture":     {func(v *version) { v.architectures = nil }, []string{"Architecture"}},
	})
	f.Zip = nil
	other := conforming()
	other.sha = "deployed by the pipeline"
	if d := f.compare(other); len(d) > 0 {
		t.Errorf("without a package the code was compared: %v", d)
	}
}

func TestRuleTargetDrift(t *testing.T) {
	r := &Rule{TargetID: "workflow", Machine: &StateMachine{ARN: "arn:m"}, Role: &Role{ARN: "arn:r"}, DeadLetter: &Queue{ARN: "arn:q"}, InputPath: "$.detail", MaxRetries: 3, MaxAge: time.Hour}
	conforming := func() []events.Target {
		return []events.Target{{Id: new("workflow"), Arn: new("arn:m"), RoleArn: new("arn:r"), InputPath: new("$.detail"),
			DeadLetterConfig: &events.DeadLetterConfig{Arn: new("arn:q")},
			RetryPolicy:      &events.RetryPolicy{MaximumRetryAttempts: new(int32(3)), MaximumEventAgeInSeconds: new(int32(3600))}}}
	}
	compare := func(targets []events.Target) []graph.Diff {
		var d drift
		r.compareTargets(&d, targets)
		return d
	}
	type ts = []events.Target
	checkDrift(t, conforming, compare, map[string]change[ts]{
		"dead letters": {func(x *ts) { (*x)[0].DeadLetterConfig = nil }, []string{"Target.DeadLetter"}},
		"retries":      {func(x *ts) { (*x)[0].RetryPolicy.MaximumRetryAttempts = nil }, []string{"Target.MaximumRetryAttempts"}},
		"machine":      {func(x *ts) { (*x)[0].Arn = new("arn:other") }, []string{"Target.Arn"}},
		"a second one": {func(x *ts) { *x = append(*x, events.Target{Id: new("spy"), Arn: new("arn:spy")}) }, []string{"OtherTarget.spy"}},
	})
}

func TestMappingDrift(t *testing.T) {
	m := &EventSourceMapping{
		Table: &Table{streamARN: "arn:stream"}, Alias: &Alias{Name: "live", Function: &Function{ARN: "arn:f"}}, OnFailure: &Queue{ARN: "arn:dlq"},
		Filter: `{"eventName":["INSERT"]}`, BatchSize: 10, MaxRetries: 3, MaxAge: time.Hour,
	}
	type config = types.EventSourceMappingConfiguration
	conforming := func() config {
		return config{State: new("Enabled"), FunctionArn: new("arn:f:live"), EventSourceArn: new("arn:stream"), BatchSize: new(int32(10)),
			MaximumRetryAttempts: new(int32(3)), MaximumRecordAgeInSeconds: new(int32(3600)), BisectBatchOnFunctionError: new(true),
			FunctionResponseTypes: []types.FunctionResponseType{"ReportBatchItemFailures"},
			DestinationConfig:     m.destination(), FilterCriteria: &types.FilterCriteria{Filters: []types.Filter{{Pattern: new(`{"eventName": "INSERT"}`)}}}}
	}
	compare := func(c config) []graph.Diff { return m.compare(&c) }
	checkDrift(t, conforming, compare, map[string]change[config]{
		"disabled":          {func(c *config) { c.State = new("Disabled") }, []string{"State"}},
		"being deleted":     {func(c *config) { c.State = new("Deleting") }, []string{"State"}},
		"old stream":        {func(c *config) { c.EventSourceArn = new("arn:old") }, []string{"EventSourceArn"}},
		"past the alias":    {func(c *config) { c.FunctionArn = new("arn:f") }, []string{"FunctionArn"}},
		"endless retries":   {func(c *config) { c.MaximumRetryAttempts = new(int32(-1)) }, []string{"MaximumRetryAttempts"}},
		"whole batches":     {func(c *config) { c.FunctionResponseTypes = nil }, []string{"FunctionResponseTypes"}},
		"failures dropped":  {func(c *config) { c.DestinationConfig = nil }, []string{"OnFailure"}},
		"everything passes": {func(c *config) { c.FilterCriteria = nil }, []string{"Filter"}},
		"no bisection":      {func(c *config) { c.BisectBatchOnFunctionError = nil }, []string{"BisectBatchOnFunctionError"}},
	})
}

func TestQueueDrift(t *testing.T) {
	q := &Queue{Name: "q", Key: &Key{arn: "arn:key"}, Policy: Policy{{Effect: "Deny", Action: []string{"sqs:*"}}}, Visibility: 30 * time.Second, Retention: time.Hour, DeadLetter: &Queue{ARN: "arn:dlq"}}
	type attrs = map[string]string
	conforming := func() attrs {
		return attrs{
			"KmsMasterKeyId": "arn:key", "VisibilityTimeout": "30", "MessageRetentionPeriod": "3600", "QueueArn": "set by SQS",
			"Policy":        `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"sqs:*"}}`,
			"RedrivePolicy": `{"maxReceiveCount":5,"deadLetterTargetArn":"arn:dlq"}`,
		}
	}
	compare := func(a attrs) []graph.Diff { return compareAttributes(q.attributes(), a) }
	checkDrift(t, conforming, compare, map[string]change[attrs]{
		"no policy":     {func(a *attrs) { delete(*a, "Policy") }, []string{"Policy"}},
		"other key":     {func(a *attrs) { (*a)["KmsMasterKeyId"] = "alias/aws/sqs" }, []string{"KmsMasterKeyId"}},
		"short memory":  {func(a *attrs) { (*a)["MessageRetentionPeriod"] = "60" }, []string{"MessageRetentionPeriod"}},
		"other letters": {func(a *attrs) { (*a)["RedrivePolicy"] = `{"deadLetterTargetArn":"x"}` }, []string{"RedrivePolicy"}},
	})
}
