package script

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are those that stories need besides miniforge itself.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"post":    post,
		"replace": replace,
	}
}

// post FILE sends a file to the API as an order, past what miniforge would say
// of it, and prints the answer.
func post(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: post FILE")
	}
	ts.Check(ts.Exec("miniforge", "status", "-o", "json"))
	var status struct{ Data struct{ API string } }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &status))
	answer, err := http.Post(status.Data.API+"/orders", "application/json", strings.NewReader(ts.ReadFile(args[0]))) //nolint:noctx // a script ends by itself
	ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	_, err = fmt.Fprintf(ts.Stdout(), "%s\n%s\n", answer.Status, body)
	ts.Check(err)
}

// replace OLD NEW FILE replaces a text that occurs exactly once in a file.
func replace(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: replace OLD NEW FILE")
	}
	text := ts.ReadFile(args[2])
	if n := strings.Count(text, args[0]); n != 1 {
		ts.Fatalf("%q occurs %d times in %s", args[0], n, args[2])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Replace(text, args[0], args[1], 1)), 0o600))
}
