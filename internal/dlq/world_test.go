package dlq_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/artifact"
	"miniforge/internal/cloud"
	"miniforge/internal/dlq"
	"miniforge/internal/graph"
	"miniforge/internal/order"
	"miniforge/internal/orderdb"
	"miniforge/internal/stack"
	"miniforge/internal/verify"
)

// A world is the whole system on a cloud of its own.
type world struct {
	*testing.T
	s *stack.Stack
}

// packages are the archives of the functions, built once.
var packages = sync.OnceValues(func() (map[string][]byte, error) {
	out, err := os.MkdirTemp("", "miniforge-dlq-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	built, err := artifact.Build(context.Background(), artifact.Options{
		Source: filepath.Join("..", ".."), Out: out, GOOS: runtime.GOOS, GOARCH: runtime.GOARCH,
	})
	archives := map[string][]byte{}
	for _, p := range built {
		if err == nil {
			archives[p.Function], err = p.Bytes()
		}
	}
	return archives, err
})

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel() // they mostly wait
	archives, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	o := stack.Options{Packages: archives, Platform: runtime.GOOS, WithoutPipeline: true}
	if runtime.GOARCH == "arm64" {
		o.Architecture = "arm64"
	}
	c, err := cloud.New(t.Context(), cloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	o.Names = stack.Names{Name: "test", Account: c.Account, Region: c.Region}
	s, err := stack.New(aws.Config{
		Region: c.Region, BaseEndpoint: aws.String("http://cloud.test"), HTTPClient: &http.Client{Transport: c.Transport()},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Graph()
	if err == nil {
		_, err = g.Ensure(t.Context(), graph.Options{})
	}
	if err == nil {
		_, err = s.Seed(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, s}
}

// oldRun is the execution of a run that is over, and forgotten.
func (w *world) oldRun() string {
	return "arn:aws:states:" + w.s.Region + ":" + w.s.Account + ":execution:" + w.s.StateMachine() + ":old"
}

// has puts an order into the table as if an earlier run had left it so, with
// the stock that it holds. It comes there by an update, which the stream does
// not announce.
func (w *world) has(id string, items []order.Item, left func(*order.Order), holds bool) order.Order {
	w.Helper()
	placed := time.Now().Add(-time.Minute)
	o := order.New(id, "", order.Request{
		Customer: order.Customer{Name: "Ada", Email: "ada@example.com"}, Items: items, Payment: order.Payment{Token: "tok_visa"},
	}, placed)
	o.ExecutionARN = w.oldRun()
	left(&o)
	if last := o.Timeline[len(o.Timeline)-1].Status; last != o.Status {
		at := order.At(placed.Add(time.Second))
		if o.Status == order.Confirmed {
			o.Timeline = append(o.Timeline, order.Change{Status: order.Reserved, At: at})
		}
		o.Timeline = append(o.Timeline, order.Change{Status: o.Status, At: at})
	}
	want := o.Status
	o.Status = "PREPARED"
	item, err := orderdb.Marshal(o)
	if err == nil {
		_, err = w.s.Clients.DynamoDB.PutItem(w.Context(), &dynamodb.PutItemInput{TableName: aws.String(w.s.Orders()), Item: item})
	}
	if err == nil {
		o.Status = want
		w.set(w.s.Orders(), orderdb.Key(orderdb.OrderKey, id), "SET #s = :s", map[string]string{"#s": "status"}, orderdb.Item{":s": orderdb.S(string(want))})
	}
	if err != nil {
		w.Fatal(err)
	}
	for _, line := range items {
		if holds {
			w.set(w.s.Inventory(), orderdb.Key(orderdb.StockKey, line.SKU), "SET available = available - :q, holds.#o = :q", map[string]string{"#o": id}, orderdb.Item{":q": orderdb.N(line.Quantity)})
		}
	}
	return o
}

func (w *world) set(table string, key orderdb.Item, set string, names map[string]string, values orderdb.Item) {
	w.Helper()
	_, err := w.s.Clients.DynamoDB.UpdateItem(w.Context(), &dynamodb.UpdateItemInput{
		TableName: &table, Key: key, UpdateExpression: &set, ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) order(id string) (o order.Order) {
	w.Helper()
	out, err := w.s.Clients.DynamoDB.GetItem(w.Context(), &dynamodb.GetItemInput{TableName: aws.String(w.s.Orders()), Key: orderdb.Key(orderdb.OrderKey, id), ConsistentRead: aws.Bool(true)})
	if err == nil {
		err = orderdb.Unmarshal(out.Item, &o)
	}
	if err != nil {
		w.Fatal(err)
	}
	return o
}

// letter sends a dead letter as a part of the system does.
func (w *world) letter(body any, attributes map[string]string) {
	w.Helper()
	text, ok := body.(string)
	if !ok {
		b, err := json.Marshal(body)
		if err != nil {
			w.Fatal(err)
		}
		text = string(b)
	}
	in := &sqs.SendMessageInput{QueueUrl: w.url(w.s.DeadLetters()), MessageBody: &text, MessageAttributes: map[string]types.MessageAttributeValue{}}
	for name, v := range attributes {
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &v}
	}
	if _, err := w.s.Clients.SQS.SendMessage(w.Context(), in); err != nil {
		w.Fatal(err)
	}
}

// failed is the workflow's letter about an order.
func (w *world) failed(o order.Order, code order.FailureCode) {
	w.Helper()
	w.letter(map[string]any{"order_id": o.ID, "code": code, "reason": "because", "execution_arn": o.ExecutionARN, "at": o.UpdatedAt}, nil)
}

func (w *world) url(queue string) *string {
	w.Helper()
	out, err := w.s.Clients.SQS.GetQueueUrl(w.Context(), &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		w.Fatal(err)
	}
	return out.QueueUrl
}

// redrive redrives all letters and returns the actions by order.
func (w *world) redrive(o dlq.Options, codes ...order.FailureCode) map[string]dlq.Outcome {
	w.Helper()
	q, err := dlq.Open(w.Context(), w.s.Clients.SQS, w.s.DeadLetters(), time.Minute)
	if err != nil {
		w.Fatal(err)
	}
	r := &dlq.Redriver{Stack: w.s, Codes: codes, Patience: 30 * time.Second}
	outcomes, err := r.Run(w.Context(), q, o)
	if err != nil {
		w.Fatal(err)
	}
	if err := q.Close(w.Context()); err != nil {
		w.Fatal(err)
	}
	byOrder := map[string]dlq.Outcome{}
	for _, out := range outcomes {
		if out.Error != "" {
			w.Errorf("%s of %s: %s", out.Plan.Action, out.Letter.OrderID, out.Error)
		}
		byOrder[out.Letter.OrderID+"/"+string(out.Letter.Source)] = out
	}
	return byOrder
}

// letters lists the queue.
func (w *world) letters() (left []string) {
	w.Helper()
	q, err := dlq.Open(w.Context(), w.s.Clients.SQS, w.s.DeadLetters(), time.Minute)
	if err != nil {
		w.Fatal(err)
	}
	letters, err := q.All(w.Context(), 100)
	if err != nil {
		w.Fatal(err)
	}
	if err := q.Close(w.Context()); err != nil {
		w.Fatal(err)
	}
	for _, l := range letters {
		left = append(left, l.OrderID+"/"+string(l.Source))
	}
	return left
}

// settled waits until orders are at rest with all invariants, and returns them.
func (w *world) settled(ids ...string) map[string]order.Order {
	w.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		ledger, err := verify.ReadLedger(w.Context(), w.s.Clients, w.s.Names)
		if err != nil {
			w.Fatal(err)
		}
		var mine []order.Order
		byID := map[string]order.Order{}
		for _, o := range ledger.Orders {
			byID[o.ID] = o
			for _, id := range ids {
				if o.ID == id {
					mine = append(mine, o)
				}
			}
		}
		violations := order.Violations(mine, nil)
		if len(violations) == 0 {
			return byID
		}
		if time.Now().After(deadline) {
			w.Fatalf("still: %v", violations)
		}
	}
}

func (w *world) disableRule() {
	w.Helper()
	if _, err := w.s.Clients.Events.DisableRule(w.Context(), &eventbridge.DisableRuleInput{Name: aws.String(w.s.Rule()), EventBusName: aws.String(w.s.Bus())}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) enableRule() {
	w.Helper()
	if _, err := w.s.Clients.Events.EnableRule(w.Context(), &eventbridge.EnableRuleInput{Name: aws.String(w.s.Rule()), EventBusName: aws.String(w.s.Bus())}); err != nil {
		w.Fatal(err)
	}
}
