// Command function is a Lambda function that does what its event says: for tests.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do    string          `json:"do"`
	Value json.RawMessage `json:"value"`
}

// A Declined is an error whose type's name the caller sees.
type Declined struct{}

func (Declined) Error() string { return "card declined" }

func main() {
	if os.Getenv("INIT") == "fail" {
		fmt.Println("cannot start")
		os.Exit(3)
	}
	lambda.Start(handle)
}

func handle(ctx context.Context, e event) (any, error) {
	switch e.Do {
	case "env":
		return os.Environ(), nil
	case "files":
		return files()
	case "wait": // until the file is there that the value names
		var name string
		if err := json.Unmarshal(e.Value, &name); err != nil {
			return nil, err
		}
		for ctx.Err() == nil {
			if _, err := os.Stat(name); err == nil {
				return "done", nil
			}
			time.Sleep(time.Millisecond)
		}
		return nil, ctx.Err()
	case "context":
		c, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{"id": c.AwsRequestID, "arn": c.InvokedFunctionArn, "left": time.Until(deadline).Milliseconds(), "client": c.ClientContext.Custom, "trace": os.Getenv("_X_AMZN_TRACE_ID")}, nil
	case "log":
		var n int
		if err := json.Unmarshal(e.Value, &n); err != nil {
			return nil, err
		}
		for i := range n {
			fmt.Println("line", i)
		}
		fmt.Print("no newline")
		return nil, nil
	case "declined":
		return nil, Declined{}
	case "error":
		return nil, errors.New("broken")
	case "exit":
		fmt.Println("leaving")
		os.Exit(2)
	case "sleep":
		time.Sleep(time.Minute)
	case "child":
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return cmd.Process.Pid, nil
	case "pid":
		return os.Getpid(), nil
	case "big":
		return strings.Repeat("x", 7<<20), nil
	}
	return e.Value, nil
}

// files are those that the process has open.
func files() ([]string, error) {
	const dir = "/proc/self/fd"
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range all {
		if name, err := os.Readlink(dir + "/" + e.Name()); err == nil { // or it was the folder's own
			names = append(names, name)
		}
	}
	return names, nil
}
