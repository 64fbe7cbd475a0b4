// Package services measures the services of an endpoint: how often each does its
// main operations, and how long they take.
package services

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"miniforge/internal/bench"
)

// Bench measures an endpoint's services, each with resources of its own,
// which are removed afterwards.
type Bench struct {
	Config aws.Config
	// Prefix begins the names of all resources; it should tell this run from
	// any other. Tags are put on whatever can be tagged.
	Prefix string
	Tags   map[string]string
	// Function, if not empty, is a Lambda function to invoke, and Payload what
	// with: it must change nothing.
	Function string
	Payload  []byte

	Clients  int
	Duration time.Duration // of each operation
}

// ErrSkipped is wrapped in the error of a service that cannot be measured here.
var ErrSkipped = errors.New("skipped")

// A bed is where one service is measured: what is done there, one after the
// other, and how to clear up.
type bed struct {
	scripts []bench.Script
	undo    []func(context.Context) error
}

// measure adds a script. Operations that do not need each other have a script
// each, so that one's rate does not depend on the other's.
func (b *bed) measure(s bench.Script) { b.scripts = append(b.scripts, s) }

// operation adds a script of one operation.
func (b *bed) operation(name string, do func(ctx context.Context, client, round int) error) {
	b.measure(func(ctx context.Context, clock *bench.Clock, client, round int) error {
		return clock.Time(ctx, name, func(ctx context.Context) error { return do(ctx, client, round) })
	})
}

// later adds something to do when the service has been measured. What was added
// last is done first.
func (b *bed) later(undo func(context.Context) error) { b.undo = append(b.undo, undo) }

func (b *bed) clear(ctx context.Context) error {
	var errs []error
	for _, undo := range slices.Backward(b.undo) {
		errs = append(errs, undo(ctx))
	}
	return errors.Join(errs...)
}

type benchmark struct {
	name string
	make func(*Bench, context.Context, *bed) error
}

// benches are the services in the order in which they are measured.
var benches = []benchmark{
	{"sts", (*Bench).sts},           // GetCallerIdentity: what a call costs by itself
	{"dynamodb", (*Bench).dynamodb}, // PutItem, GetItem, UpdateItem, Query on a table
	{"sqs", (*Bench).sqs},           // SendMessage, ReceiveMessage, DeleteMessage on a queue
	{"sns", (*Bench).sns},           // Publish to a topic without subscribers
	{"events", (*Bench).events},     // PutEvents to a bus without rules
	{"sfn", (*Bench).sfn},           // StartExecution of a standard machine of one state, and until its end
	{"lambda", (*Bench).lambda},     // Invoke of a function of the stack
	{"kms", (*Bench).kms},           // Encrypt and Decrypt by a key
	{"s3", (*Bench).s3},             // PutObject and GetObject of 1 KiB
	{"logs", (*Bench).logs},         // PutLogEvents into a stream for each client
}

// Names lists the services that can be measured.
func Names() []string {
	var names []string
	for _, b := range benches {
		names = append(names, b.name)
	}
	return names
}

// clearTime bounds the clearing up after a service, also after Ctrl-C.
const clearTime = time.Minute

// Measure measures one service. Its resources are removed before it returns,
// also if ctx ends meanwhile. The results are valid even with an error, if
// there are any.
func (s *Bench) Measure(ctx context.Context, name string) (results []bench.Result, err error) {
	i := slices.IndexFunc(benches, func(b benchmark) bool { return b.name == name })
	if i < 0 {
		return nil, fmt.Errorf("measure: no service %q; there are %s", name, strings.Join(Names(), ", "))
	}
	var b bed
	defer func() {
		clear, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
		defer cancel()
		if cerr := b.clear(clear); cerr != nil {
			err = errors.Join(err, fmt.Errorf("clear up after %s: %w", name, cerr))
		}
	}()
	if err := benches[i].make(s, ctx, &b); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, err)
	}
	for _, script := range b.scripts {
		some, err := bench.Run(ctx, s.Clients, s.Duration, script)
		results = append(results, some...)
		if err != nil {
			return named(name, results), err
		}
	}
	return named(name, results), nil
}

func named(service string, results []bench.Result) []bench.Result {
	for i := range results {
		results[i].Service = service
	}
	return results
}

// name is the name of a resource of this run.
func (s *Bench) name(thing string) string { return s.Prefix + "-" + thing }

// await asks again and again until ready says so or ctx ends.
func await(ctx context.Context, ready func(context.Context) (bool, error)) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		ok, err := ready(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// tags makes a service's list of tags.
func tags[T any](s *Bench, tag func(key, value *string) T) []T {
	list := make([]T, 0, len(s.Tags))
	for k, v := range s.Tags {
		list = append(list, tag(&k, &v))
	}
	return list
}
