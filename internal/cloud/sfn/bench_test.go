package sfn

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// BenchmarkTenTasks is the time that Step Functions itself adds to a workflow
// of ten tasks, one after the other, on a store on disk.
func BenchmarkTenTasks(b *testing.B) {
	block := must(aes.NewCipher(make([]byte, 32)))
	db := must(store.Open(filepath.Join(b.TempDir(), "db"), must(cipher.NewGCM(block))))
	defer db.Close()
	var tasks []string
	for name := range strings.SplitSeq("ABCDEFGHIJ", "") {
		next := `"Next":"` + string(name[0]+1) + `"`
		if name == "J" {
			next = `"End":true`
		}
		tasks = append(tasks, `"`+name+`":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:getItem","Parameters":{"TableName":"t"},"ResultPath":null,`+next+`}`)
	}
	r, stop := benchRig(b, db)
	defer stop()
	m := must(r.CreateStateMachine(r.ctx, &sdk.CreateStateMachineInput{
		Name: new("m"), RoleArn: new(roleARN), Definition: new(states(strings.Join(tasks, ","))),
	})).StateMachineArn
	for b.Loop() {
		r.toEnd(m, "{}")
	}
}

// BenchmarkOrder is what an execution costs that does what workflows do: it
// calls functions and services with parameters made of its input and of the
// context object, chooses, maps, and logs all. The store is in memory.
func BenchmarkOrder(b *testing.B) {
	r, stop := benchRig(b, store.Memory())
	defer stop()
	r.invoke = func(context.Context, string) (string, string, error) {
		return `{"available":true,"charge_id":"ch_0123456789","amount":1250,"reason":"","explanation":""}`, "", nil
	}
	m := must(r.CreateStateMachine(r.ctx, &sdk.CreateStateMachineInput{
		Name: new("m"), RoleArn: new(roleARN), Definition: new(string(must(os.ReadFile("testdata/order.asl.json")))),
		LoggingConfiguration: allLogged,
	})).StateMachineArn
	b.ReportAllocs()
	for b.Loop() {
		r.toEnd(m, `{"order_id":"ord_01JZ8Y","items":[{"sku":"MF-DRAGON-01","quantity":2},{"sku":"MF-KNIGHT-07","quantity":1}],"payment":{"token":"tok_visa"},"created_at":"2026-01-02T03:04:05.678Z"}`)
		r.mu.Lock()
		r.calls, r.logs = r.calls[:0], r.logs[:0]
		r.mu.Unlock()
	}
}

// benchRig is a rig on a store, outside of a bubble.
func benchRig(b *testing.B, db store.DB) (r *rig, stop func()) {
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(db, log)
	r = &rig{db: db, mux: wire.NewMux(wire.Options{Account: account, Log: log})}
	r.api = func(context.Context, string, string, string) (string, error) { return `{}`, nil }
	r.Service = New(Options{DB: db, Tasks: q, Caller: r, Log: log, Account: account})
	r.Register(r.mux, q)
	ctx, cancel := context.WithCancel(b.Context())
	over := make(chan error)
	go func() { over <- q.Run(ctx) }()
	r.ctx = wire.WithCall(ctx, &wire.Call{Service: "states", Region: "us-east-1", Account: account})
	return r, func() { cancel(); <-over }
}

// toEnd starts an execution and waits for its end.
func (r *rig) toEnd(machine *string, input string) {
	x := *must(r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: machine, Input: &input})).ExecutionArn
	ended, stop := r.Signals.Subscribe(endKey(x))
	defer stop()
	for must(r.DescribeExecution(r.ctx, &sdk.DescribeExecutionInput{ExecutionArn: &x})).Status == "RUNNING" {
		<-ended
	}
}
