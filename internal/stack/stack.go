// Package stack is THE system: which resources it has, what they are called,
// and who may do what. Read [Stack.declare] first; everything else serves it.
package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/asl"
	"miniforge/internal/graph"
	"miniforge/internal/resource"
)

// Options say which stack, and where.
type Options struct {
	Names
	// Packages holds the zip archive of each function, by the names of
	// FunctionNames. Without one, the code that is deployed is not compared
	// and the function cannot be created: status and down need none.
	Packages map[string][]byte
	// Architecture is that of the packages: "arm64" or "x86_64" (the default).
	Architecture string
	// Platform is the operating system that functions run on, as Go names it:
	// "linux" (the default), or that of the host where functions are processes.
	Platform string
	// WithoutPipeline leaves the delivery out: repository, builds, deployments
	// and pipeline are then neither looked at nor made nor deleted.
	WithoutPipeline bool
	// Sources are pushed when the repository has no commit yet, and by Push.
	// Without them the repository cannot be filled: status and down need none.
	Sources []resource.File
	// Toolchain is what built Packages, as "go1.26.8": builds of the pipeline
	// use the same, for the same bytes. Without it that of the project is not
	// compared.
	Toolchain string
}

// A Stack is the system in one account and region.
type Stack struct {
	Names
	Clients Clients

	opts  Options
	owner resource.Owner
	roots []graph.Resource

	key     *resource.Key
	api     *resource.HTTPAPI
	mapping *resource.EventSourceMapping
	branch  *resource.Branch
}

// New declares the stack; it calls nothing. Credentials, endpoint and HTTP
// client are those of the configuration.
func New(cfg aws.Config, o Options) (*Stack, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Region == "" {
		o.Region = cfg.Region
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	switch o.Architecture {
	case "":
		o.Architecture = string(lambdatypes.ArchitectureX8664)
	case string(lambdatypes.ArchitectureX8664), string(lambdatypes.ArchitectureArm64):
	default:
		return nil, fmt.Errorf("stack: architecture %q: want x86_64 or arm64", o.Architecture)
	}
	o.Platform = cmp.Or(o.Platform, "linux")
	s := &Stack{Names: o.Names, Clients: NewClients(cfg), opts: o, owner: resource.Owner{Stack: o.Name}}
	s.declare()
	return s, nil
}

// Graph returns the resources in their order of dependency.
func (s *Stack) Graph() (*graph.Graph, error) { return graph.New(s.roots...) }

const (
	day          = 24 * time.Hour
	logRetention = 30 // days

	// orderPattern matches what the stream processor sends.
	orderPattern = `{"source":["miniforge.orders"],"detail-type":["OrderPlaced"]}`
	// newOrders lets through the insertion of orders only: the workflow's own
	// updates of an order must not place it again.
	newOrders = `{"eventName":["INSERT"],"dynamodb":{"NewImage":{"status":{"S":["SUBMITTED"]}}}}`
)

// declare says what the system consists of, in the order in which an order
// passes through it.
func (s *Stack) declare() {
	n := s.Names
	s.key = &resource.Key{KMS: s.Clients.KMS, Owner: s.owner, Alias: n.KeyAlias(), Description: "Encrypts all data of stack " + n.Name, Policy: n.keyPolicy()}
	bucket := &resource.Bucket{S3: s.Clients.S3, Owner: s.owner, Name: n.Bucket(), ARN: n.BucketARN(), Region: n.Region, Key: s.key, Policy: n.bucketPolicy()}

	orders := s.table(n.Orders(), "order_id", true, resource.Index{Name: StatusIndex, Hash: "status", Range: "created_at"})
	inventory := s.table(n.Inventory(), "sku", false)

	dlq := s.queue(n.DeadLetters(), n.deadLettersPolicy(), nil)
	notifications := s.queue(n.Notifications(), n.notificationsPolicy(), dlq)
	topic := &resource.Topic{SNS: s.Clients.SNS, Owner: s.owner, Name: n.Topic(), ARN: n.TopicARN(), Key: s.key, Policy: n.topicPolicy()}
	subscription := &resource.Subscription{SNS: s.Clients.SNS, Owner: s.owner, Topic: topic, Queue: notifications, DeadLetter: dlq}
	bus := &resource.Bus{Events: s.Clients.Events, Owner: s.owner, Name: n.Bus(), ARN: n.BusARN()}

	ordersTable := map[string]string{"ORDERS_TABLE": n.Orders()}
	intake := s.function(OrderIntake, 10*time.Second, ordersTable,
		onTable(orders, "PutItem", "GetItem"))
	stream := s.function(StreamProcessor, 10*time.Second, map[string]string{"EVENT_BUS_NAME": n.Bus()},
		readsStream(orders), putsEventsOn(bus), sendsTo(dlq))
	checker := s.function(InventoryChecker, 10*time.Second, map[string]string{"INVENTORY_TABLE": n.Inventory()},
		onTable(inventory, "BatchGetItem"))
	payment := s.function(PaymentProcessor, 5*time.Second, ordersTable,
		onTable(orders, "UpdateItem"))

	s.api = s.httpAPI(intake)
	permission := &resource.Permission{Lambda: s.Clients.Lambda, Sid: "http-api", Alias: intake, API: s.api}
	s.mapping = &resource.EventSourceMapping{
		Lambda: s.Clients.Lambda, Owner: s.owner, Table: orders, Alias: stream, OnFailure: dlq,
		Filter: newOrders, BatchSize: 100, MaxRetries: 10, MaxAge: time.Hour,
	}
	machine := s.workflow(orders, inventory, topic, dlq, checker, payment)
	rule := &resource.Rule{
		Events: s.Clients.Events, Owner: s.owner, Bus: bus, Name: n.Rule(), ARN: n.RuleARN(), Pattern: orderPattern,
		TargetID: "workflow", Machine: machine, InputPath: "$.detail", DeadLetter: dlq, MaxRetries: 24, MaxAge: time.Hour,
		// Otherwise any rule of the account that may pass the role could start the workflow.
		Role: s.role(n.RuleRole(), "events.amazonaws.com", n.onBehalfOf(n.RuleARN()), starts(n.StateMachineARN())),
	}
	// Tables and the roles of functions come first: they take AWS the longest.
	s.roots = []graph.Resource{orders, inventory, intake, stream, checker, payment, machine, rule, s.mapping, s.api, permission, subscription, bucket}
	delivery := s.declareDelivery(bucket, intake, stream, checker, payment)
	if !s.opts.WithoutPipeline {
		s.roots = append(s.roots, delivery...)
	}
}

func (s *Stack) table(name, hash string, stream bool, indexes ...resource.Index) *resource.Table {
	return &resource.Table{
		DynamoDB: s.Clients.DynamoDB, Owner: s.owner, Name: name, ARN: s.TableARN(name),
		Hash: hash, Indexes: indexes, Stream: stream, Key: s.key,
	}
}

func (s *Stack) queue(name string, policy resource.Policy, deadLetters *resource.Queue) *resource.Queue {
	return &resource.Queue{
		SQS: s.Clients.SQS, Owner: s.owner, Name: name, ARN: s.QueueARN(name), Key: s.key, Policy: policy,
		Visibility: 30 * time.Second, Retention: 14 * day, DeadLetter: deadLetters,
	}
}

func (s *Stack) logGroup(name string) *resource.LogGroup {
	return &resource.LogGroup{Logs: s.Clients.Logs, Owner: s.owner, Name: name, ARN: s.LogGroupARN(name), Key: s.key, Retention: logRetention}
}

func (s *Stack) role(name, service string, narrowed resource.Conditions, grants ...Grant) *resource.Role {
	return &resource.Role{
		IAM: s.Clients.IAM, Owner: s.owner, Name: name, ARN: s.RoleARN(name), Path: s.RolePath(), Key: s.key,
		Trust:  resource.Trust(service, narrowed),
		Grants: func() resource.Policy { return s.policy(grants) },
	}
}

// function declares a function with its log group, its role and its alias; the
// alias is what callers get.
func (s *Stack) function(name string, timeout time.Duration, env map[string]string, grants ...Grant) *resource.Alias {
	group := s.logGroup(s.FunctionLogGroup(name))
	role := s.role(s.Function(name), "lambda.amazonaws.com", nil, append(grants, writesLogs(group.ARN))...)
	return &resource.Alias{
		Lambda: s.Clients.Lambda, Name: LiveAlias,
		Function: &resource.Function{
			Lambda: s.Clients.Lambda, Owner: s.owner, Name: s.Function(name), ARN: s.FunctionARN(name), Role: role, LogGroup: group,
			Architecture: lambdatypes.Architecture(s.opts.Architecture), Timeout: timeout, Memory: 256, Environment: env,
			Zip: s.opts.Packages[name],
		},
	}
}

func (s *Stack) httpAPI(handler *resource.Alias) *resource.HTTPAPI {
	return &resource.HTTPAPI{
		Gateway: s.Clients.APIGateway, Owner: s.owner, Name: s.API(), Region: s.Region, Account: s.Account, Partition: s.Partition(),
		Routes: []string{"POST /orders", "GET /orders/{order_id}"}, Handler: handler,
		LogGroup: s.logGroup(s.APILogGroup()), Rate: 2000, Burst: 1000,
	}
}

func (s *Stack) workflow(orders, inventory *resource.Table, topic *resource.Topic, dlq *resource.Queue, checker, payment *resource.Alias) *resource.StateMachine {
	group := s.logGroup(s.WorkflowLogGroup())
	role := s.role(s.WorkflowRole(), "states.amazonaws.com",
		resource.Conditions{"StringEquals": {"aws:SourceAccount": {s.Account}}},
		invokes(checker.ARN(), payment.ARN()),
		onTable(orders, "UpdateItem"), onTable(inventory, "UpdateItem"),
		publishesTo(topic), sendsTo(dlq), deliversLogs())
	return &resource.StateMachine{
		SFN: s.Clients.SFN, Owner: s.owner, Name: s.StateMachine(), ARN: s.StateMachineARN(), Role: role, LogGroup: group,
		Calls: []*resource.Alias{checker, payment}, Uses: []graph.Resource{orders, inventory, topic, dlq},
		Definition: func() (string, error) {
			return asl.Render(map[string]string{
				"OrdersTable": orders.Name, "InventoryTable": inventory.Name,
				"InventoryCheckerArn": checker.ARN(), "PaymentProcessorArn": payment.ARN(),
				"NotificationTopicArn": topic.ARN, "DeadLetterQueueUrl": cmp.Or(dlq.URL(), "(known after create)"),
			})
		},
	}
}

// ErrNoEndpoint means that the stack has no API (yet).
var ErrNoEndpoint = errors.New("the stack has no HTTP API; run up first")

// Endpoint returns the URL under which orders are placed, without a slash at
// its end. It reads the API from the cloud.
func (s *Stack) Endpoint(ctx context.Context) (string, error) {
	api, err := s.api.Find(ctx)
	if err != nil {
		return "", err
	}
	if api == nil || aws.ToString(api.ApiEndpoint) == "" {
		return "", ErrNoEndpoint
	}
	return aws.ToString(api.ApiEndpoint), nil
}

// KnownEndpoint is Endpoint as a walk of the graph has just found it.
func (s *Stack) KnownEndpoint() (string, error) {
	if s.api.Endpoint() == "" {
		return "", ErrNoEndpoint
	}
	return s.api.Endpoint(), nil
}
