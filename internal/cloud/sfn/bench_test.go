package sfn

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"log/slog"
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
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(db, log)
	r := &rig{db: db, mux: wire.NewMux(wire.Options{Account: account, Log: log})}
	r.api = func(context.Context, string, string, string) (string, error) { return `{}`, nil }
	r.Service = New(Options{DB: db, Tasks: q, Caller: r, Log: log, Account: account})
	r.Register(r.mux, q)
	ctx, cancel := context.WithCancel(b.Context())
	over := make(chan error)
	go func() { over <- q.Run(ctx) }()
	defer func() { cancel(); <-over }()
	r.ctx = wire.WithCall(ctx, &wire.Call{Service: "states", Region: "us-east-1", Account: account})

	var tasks []string
	for name := range strings.SplitSeq("ABCDEFGHIJ", "") {
		next := `"Next":"` + string(name[0]+1) + `"`
		if name == "J" {
			next = `"End":true`
		}
		tasks = append(tasks, `"`+name+`":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:getItem","Parameters":{"TableName":"t"},"ResultPath":null,`+next+`}`)
	}
	m := must(r.CreateStateMachine(r.ctx, &sdk.CreateStateMachineInput{
		Name: new("m"), RoleArn: new(roleARN), Definition: new(states(strings.Join(tasks, ","))),
	})).StateMachineArn
	for b.Loop() {
		x := *must(r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: m})).ExecutionArn
		ended, stop := r.Signals.Subscribe(endKey(x))
		for must(r.DescribeExecution(r.ctx, &sdk.DescribeExecutionInput{ExecutionArn: &x})).Status == "RUNNING" {
			<-ended
		}
		stop()
	}
}
