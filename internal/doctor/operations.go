// Package doctor asks an endpoint what it can do. It knows nothing of what the
// operations are needed for, and changes nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// State says what an endpoint makes of an operation.
type State string

// What an endpoint may make of an operation.
const (
	Served  State = "served"  // it answered, be it that there is no such thing
	Missing State = "missing" // it does not know the operation
	Unclear State = "unclear" // it gave no answer that tells
)

// Answer is what was found out about one operation.
type Answer struct {
	Service   string `json:"service"`
	Operation string `json:"operation"`
	State     State  `json:"state"`
	Detail    string `json:"detail,omitempty"`
}

// nobody names what does not exist.
const nobody = "miniforge-doctor-nobody"

// An Operation is a client's method: func(context.Context, *XInput,
// ...func(*Options)) (*XOutput, error). It is not looked up by its name: for a
// program that does so, the linker has to keep all methods of everything.
type Operation any

// Ask calls operations, by service, about things that do not exist: whatever is
// served refuses, and nothing is changed. So it must not be asked about
// operations that make things. Answers come in the order of the services' names.
func Ask(ctx context.Context, operations map[string][]Operation) ([]Answer, error) {
	var answers []Answer
	var mu sync.Mutex
	var wg sync.WaitGroup
	free := make(chan struct{}, 8)
	for service, all := range operations {
		for _, operation := range all {
			method := reflect.ValueOf(operation)
			wg.Go(func() {
				free <- struct{}{}
				defer func() { <-free }()
				a := Answer{Service: service, Operation: strings.TrimSuffix(inputOf(method).Name(), "Input")}
				a.State, a.Detail = judge(call(ctx, method))
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, a)
			})
		}
	}
	wg.Wait()
	slices.SortFunc(answers, func(a, b Answer) int {
		return strings.Compare(a.Service+"."+a.Operation, b.Service+"."+b.Operation)
	})
	return answers, context.Cause(ctx)
}

// inputOf is the type of an operation's input.
func inputOf(method reflect.Value) reflect.Type { return method.Type().In(1).Elem() }

// call calls an operation with as little input as the SDK lets pass: what it
// demands is filled in, and tried again.
func call(ctx context.Context, method reflect.Value) error {
	in := reflect.New(inputOf(method))
	const rounds = 3
	for range rounds {
		out := method.Call([]reflect.Value{reflect.ValueOf(ctx), in})
		err, _ := reflect.TypeAssert[error](out[1])
		invalid, is := errors.AsType[smithy.InvalidParamsError](err)
		if !is {
			return err
		}
		if !fill(in.Elem(), invalid) {
			return err
		}
	}
	return errors.New("the SDK refuses to ask")
}

// fill gives the members that are required the least value, and reports whether
// there were any.
func fill(in reflect.Value, missing smithy.InvalidParamsError) bool {
	filled := false
	for _, e := range missing.Errs() {
		param, is := errors.AsType[smithy.InvalidParamError](e)
		if !is {
			continue
		}
		f := member(in, strings.Split(param.Field(), ".")[1:]) // the first is the input's name
		if !f.IsValid() || !f.IsZero() {
			continue
		}
		filled = true
		switch f.Kind() {
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
			if f.Elem().Kind() == reflect.String {
				f.Elem().SetString(nobody)
			}
		case reflect.String: // an enumeration
			f.SetString(nobody)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 0, 0))
		case reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
		default:
			filled = false
		}
	}
	return filled
}

// member is the member of a structure at a path, with the structures on the way
// to it; none if the path leads through lists.
func member(in reflect.Value, path []string) reflect.Value {
	for i, name := range path {
		in = in.FieldByName(name)
		if !in.IsValid() || i == len(path)-1 {
			return in
		}
		if in.Kind() == reflect.Pointer && in.Type().Elem().Kind() == reflect.Struct {
			if in.IsNil() {
				in.Set(reflect.New(in.Type().Elem()))
			}
			in = in.Elem()
		}
		if in.Kind() != reflect.Struct {
			return reflect.Value{}
		}
	}
	return reflect.Value{}
}

// unknown are the codes by which endpoints say that they do not serve an
// operation.
var unknown = []string{
	"UnknownOperationException", "UnknownOperation", "InvalidAction", "NotImplemented", "NotImplementedException",
	"UnsupportedOperation", "UnsupportedOperationException", "OperationNotSupportedException",
}

func judge(err error) (State, string) {
	if err == nil {
		return Served, ""
	}
	status := 0
	if resp, is := errors.AsType[*smithyhttp.ResponseError](err); is {
		status = resp.HTTPStatusCode()
	}
	api, is := errors.AsType[smithy.APIError](err)
	code := ""
	if is {
		code = api.ErrorCode()
	}
	nameless := code == "" || code == "UnknownError"
	switch {
	case slices.Contains(unknown, code), status == http.StatusNotImplemented:
		return Missing, strings.TrimSpace(fmt.Sprintf("%d %s", status, code))
	case nameless && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed):
		return Missing, fmt.Sprintf("%d without an error that the SDK knows", status)
	case status == 0, status >= http.StatusInternalServerError:
		return Unclear, err.Error()
	default:
		return Served, code
	}
}
