package sfn

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"pgregory.net/rapid"
)

// A log line has the details of the event's SDK type, whatever the type.
func TestLogLinesAreTheEvents(t *testing.T) {
	var all []string
	for _, kind := range types.HistoryEventType("").Values() {
		all = append(all, string(kind))
	}
	all = append(all, "", "NewStateEntered", "NewStateExited", `"<&>"`)
	rapid.Check(t, func(t *rapid.T) {
		r := records(all).Draw(t, "event")
		x := &execution{ARN: "arn:<x>", Logging: logging{Data: rapid.Bool().Draw(t, "data")}}
		p := &progress{Redrives: rapid.Int32().Draw(t, "redrives")}
		if got, want := string(appendLogLine(nil, x, p, r)), generally(x, p, r); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
	for _, kind := range all {
		r := &record{Type: kind, detail: detail{Input: new("i"), Output: new("o"), Name: new("n"), Error: new("e"), Cause: new("c"), Worker: new("w"),
			Role: "r", Version: "v", Alias: "a", Resource: "r", Kind: "k", Region: "us", Timeout: 1, Heartbeat: 2, Index: 3, Length: 4, Redrives: 5}}
		for _, data := range []bool{true, false} {
			x := &execution{Logging: logging{Data: data}}
			if got, want := string(appendLogLine(nil, x, &progress{}, r)), generally(x, &progress{}, r); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	}
}

// records draws events of the given types.
func records(kinds []string) *rapid.Generator[*record] {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", `{"a":"<b>\n"}`, "a\xff", "\u2028é"}))
	return rapid.Custom(func(t *rapid.T) *record {
		s := func(name string) string { return text.Draw(t, name) }
		maybe := func(name string) *string { return rapid.Ptr(text, true).Draw(t, name) }
		return &record{
			ID: rapid.Int64().Draw(t, "id"), Prev: rapid.Int64().Draw(t, "prev"), Type: rapid.SampledFrom(kinds).Draw(t, "type"),
			At: time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "at")),
			detail: detail{
				Name: maybe("name"), Input: maybe("input"), Output: maybe("output"), Error: maybe("error"), Cause: maybe("cause"), Worker: maybe("worker"),
				Role: s("role"), Version: s("version"), Alias: s("alias"), Resource: s("resource"), Kind: s("kind"), Region: s("region"),
				Timeout: rapid.Int64Range(0, 2).Draw(t, "timeout"), Heartbeat: rapid.Int64Range(0, 2).Draw(t, "heartbeat"),
				Index: rapid.Int32().Draw(t, "index"), Length: rapid.Int32().Draw(t, "length"), Redrives: rapid.Int32().Draw(t, "count"),
			},
		}
	})
}

// generally writes a line from the SDK's event, whatever members that has.
func generally(x *execution, p *progress, r *record) string {
	text := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	details := "{}"
	v := reflect.ValueOf(r.sdk(x.Logging.Data))
	for i := range v.NumField() {
		if strings.HasSuffix(v.Type().Field(i).Name, "EventDetails") && !v.Field(i).IsNil() {
			details = members(v.Field(i).Elem())
			break
		}
	}
	return `{"id":"` + strconv.FormatInt(r.ID, 10) + `","type":` + text(r.Type) + `,"details":` + details +
		`,"redrive_count":"` + strconv.Itoa(int(p.Redrives)) + `","previous_event_id":"` + strconv.FormatInt(r.Prev, 10) +
		`","event_timestamp":"` + strconv.FormatInt(r.At.UnixMilli(), 10) + `","execution_arn":` + text(x.ARN) + "}"
}

func members(v reflect.Value) string {
	var all []string
	for i := range v.NumField() {
		f, field := v.Field(i), v.Type().Field(i)
		if !field.IsExported() || (f.Kind() == reflect.Pointer || f.Kind() == reflect.Map) && f.IsNil() {
			continue
		}
		f = reflect.Indirect(f)
		name := `"` + string(unicode.ToLower(rune(field.Name[0]))) + field.Name[1:] + `":`
		if f.Kind() == reflect.Struct {
			all = append(all, name+members(f))
			continue
		}
		plain, _ := json.Marshal(f.Interface()) // texts, numbers, flags
		all = append(all, name+string(plain))
	}
	return "{" + strings.Join(all, ",") + "}"
}
