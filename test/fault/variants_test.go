//go:build !race

package fault

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
)

// A variant is the system with one mistake in it.
type variant struct {
	name string
	// workflow and handler are replacements, old text then new, in the
	// deployed definition and in a file of a function. Each old text must be
	// there exactly once, or the variant is the system itself.
	workflow []string
	function string
	file     string
	handler  []string
	// caught lists checks of which at least one must fail.
	caught []string
	slow   bool // leaves orders that never end, for which verification waits when it tidies up
}

var variants = []variant{
	{
		name:     "reserve without a condition",
		workflow: []string{`"available >= :q AND attribute_not_exists(holds.#oid)"`, `"attribute_exists(sku)"`},
		caught:   []string{"invariants", "stock"},
	},
	{
		name: "stock by reading, changing and writing",
		workflow: []string{
			`"reason.$": "$.Payload.reason",`, `"reason.$": "$.Payload.reason", "lines.$": "$.Payload.lines",`,
			`"ItemsPath": "$.items",
      "MaxConcurrency": 1,
      "ItemSelector": {
        "order_id.$": "$.order_id",
        "sku.$": "$$.Map.Item.Value.sku",
        "quantity.$": "$$.Map.Item.Value.quantity"
      },
      "ItemProcessor": {
        "ProcessorConfig": {"Mode": "INLINE"},
        "StartAt": "ReserveLine",`, `"ItemsPath": "$.stock.lines",
      "MaxConcurrency": 1,
      "ItemSelector": {
        "order_id.$": "$.order_id",
        "sku.$": "$$.Map.Item.Value.sku",
        "quantity.$": "$$.Map.Item.Value.quantity",
        "seen.$": "$$.Map.Item.Value.available"
      },
      "ItemProcessor": {
        "ProcessorConfig": {"Mode": "INLINE"},
        "StartAt": "ReserveLine",`,
			`"SET available = available - :q, holds.#oid = :q",
              "ConditionExpression": "available >= :q AND attribute_not_exists(holds.#oid)",
              "ExpressionAttributeNames": {"#oid.$": "$.order_id"},
              "ExpressionAttributeValues": {`, `"SET available = :seen - :q, holds.#oid = :q",
              "ConditionExpression": "attribute_not_exists(holds.#oid)",
              "ExpressionAttributeNames": {"#oid.$": "$.order_id"},
              "ExpressionAttributeValues": {":seen": {"N.$": "States.Format('{}', $.seen)"}, `,
		},
		caught: []string{"invariants", "stock"},
	},
	{
		name: "compensation that is not idempotent",
		workflow: []string{
			`"SET available = available + :q REMOVE holds.#oid",
              "ConditionExpression": "holds.#oid = :q"`, `"SET available = available + :q REMOVE holds.#oid",
              "ConditionExpression": "attribute_exists(sku)"`,
		},
		caught: []string{"invariants", "stock"},
	},
	{
		name: "charge not recorded", function: "payment-processor", file: "handler.go",
		handler: []string{`	now := order.At(h.now())
	charge, err := orderdb.Value(`, `	if attempts > 0 {
		return Outcome{"charged", order.ChargeID(t.OrderID)}, nil
	}
	now := order.At(h.now())
	charge, err := orderdb.Value(`},
		caught: []string{"heals", "stock", "invariants"},
	},
	{
		name: "intake that overwrites", function: "order-intake", file: "handler.go",
		handler: []string{`ConditionExpression:                 aws.String("attribute_not_exists(order_id)"),`, ``},
		caught:  []string{"drained", "invariants", "announced"},
		slow:    true,
	},
}

// schedules are how many are run to find a mistake. Each lasts a second longer
// than the one before: whether a fault strikes where the mistake is, is left to
// chance, and that is soon as good as certain.
const schedules = 6

// TestKnownBad proves that the suite can fail: each mistake must be found.
func TestKnownBad(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		t.Run(strings.ReplaceAll(v.name, " ", "-"), func(t *testing.T) {
			if v.slow && !*slow {
				t.Skip("it takes a minute for each schedule: -slow, as make soak does")
			}
			t.Parallel()
			w := take(t)
			defer w.apply(v)()
			w.finds(v)
		})
	}
}

// finds runs schedules until one finds the mistake.
func (w *world) finds(v variant) {
	w.t.Helper()
	var text string
	for seed := uint64(1); seed <= schedules; seed++ {
		var r report
		lasts := time.Duration(seed+1) * time.Second
		r, text, _ = w.resilience(seed, lasts, 8*time.Second) // a mistake may leave what cannot be tidied up
		for id, why := range r.failed() {
			if slices.Contains(v.caught, id) {
				if replay := fmt.Sprintf("miniforge verify resilience --seed %d --duration %s", seed, lasts); !strings.Contains(text, replay) {
					w.t.Errorf("%s: the way to replay the faults is missing: %s\n%s", v.name, replay, text)
				}
				w.t.Logf("%s: found with seed %d by %s: %s", v.name, seed, id, why)
				return
			}
		}
	}
	w.t.Errorf("%s: no check of %v failed in %d schedules; the last said:\n%s", v.name, v.caught, schedules, text)
}

// apply deploys a variant, and returns what deploys the system again.
func (w *world) apply(v variant) (undo func()) {
	w.t.Helper()
	if v.function != "" {
		return w.deploy("miniforge-"+v.function, w.buildVariant(v))
	}
	cfg := w.config()
	client := sfn.NewFromConfig(cfg)
	machines, err := client.ListStateMachines(w.t.Context(), &sfn.ListStateMachinesInput{})
	if err != nil || len(machines.StateMachines) != 1 {
		w.t.Fatalf("find the workflow: %v, %v", machines, err)
	}
	arn := machines.StateMachines[0].StateMachineArn
	m, err := client.DescribeStateMachine(w.t.Context(), &sfn.DescribeStateMachineInput{StateMachineArn: arn})
	if err != nil {
		w.t.Fatal(err)
	}
	set := func(definition string) {
		if _, err := client.UpdateStateMachine(w.t.Context(), &sfn.UpdateStateMachineInput{StateMachineArn: arn, Definition: &definition}); err != nil {
			w.t.Fatalf("%s: %v", v.name, err)
		}
	}
	set(replace(w.t, v.name, *m.Definition, v.workflow))
	return func() { set(*m.Definition) }
}

// replace makes the variant's text.
func replace(t *testing.T, name, text string, pairs []string) string {
	t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		if n := strings.Count(text, pair[0]); n != 1 {
			t.Fatalf("%s: this is there %d times, not once: %s", name, n, pair[0])
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	return text
}

// buildVariant builds a function from its sources with the variant's text, and
// returns its archive.
func (w *world) buildVariant(v variant) []byte {
	w.t.Helper()
	dir := w.t.TempDir()
	source, err := filepath.Abs(filepath.Join(root, "handlers", v.function, v.file))
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		w.t.Fatal(err)
	}
	changed, overlay, bootstrap := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "bootstrap")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		w.t.Fatal(err)
	}
	for name, data := range map[string][]byte{changed: []byte(replace(w.t, v.name, string(text), v.handler)), overlay: list} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	goTool(w.t, "build", "-tags", "lambda.norpc", "-overlay", overlay, "-o", bootstrap, "./handlers/"+v.function)
	program, err := os.ReadFile(bootstrap)
	if err != nil {
		w.t.Fatal(err)
	}
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	h.SetMode(0o755)
	f, err := z.CreateHeader(h)
	if err == nil {
		_, err = f.Write(program)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return archive.Bytes()
}

// deploy shifts a function's alias to new code, and returns what shifts it back.
func (w *world) deploy(function string, archive []byte) (undo func()) {
	w.t.Helper()
	client := lambda.NewFromConfig(w.config())
	before, err := client.GetAlias(w.t.Context(), &lambda.GetAliasInput{FunctionName: &function, Name: aws.String("live")})
	if err != nil {
		w.t.Fatal(err)
	}
	version, err := client.UpdateFunctionCode(w.t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: &function, ZipFile: archive, Publish: true})
	if err != nil {
		w.t.Fatal(err)
	}
	shift := func(version string) {
		if _, err := client.UpdateAlias(w.t.Context(), &lambda.UpdateAliasInput{FunctionName: &function, Name: aws.String("live"), FunctionVersion: &version}); err != nil {
			w.t.Fatal(err)
		}
	}
	shift(*version.Version)
	return func() { shift(*before.FunctionVersion) }
}
