package sfn

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

// logLine is an event as Step Functions logs it. Every event of every execution
// comes by here: it is written without a tree of values in between.
// https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
func logLine(x *execution, p *progress, r *record) []byte {
	data := len(aws.ToString(r.Input)) + len(aws.ToString(r.Output))
	b := make([]byte, 0, 512+data+data/4) // of which the quotes are escaped
	b = strconv.AppendInt(append(b, `{"id":"`...), r.ID, 10)
	b = append(append(b, `","type":`...), text(r.Type)...)
	b = appendDetails(append(b, `,"details":`...), r.sdk(x.Logging.Data))
	b = strconv.AppendInt(append(b, `,"redrive_count":"`...), int64(p.Redrives), 10)
	b = strconv.AppendInt(append(b, `","previous_event_id":"`...), r.Prev, 10)
	b = strconv.AppendInt(append(b, `","event_timestamp":"`...), r.At.UnixMilli(), 10)
	b = append(append(b, `","execution_arn":`...), text(x.ARN)...)
	return append(b, '}')
}

func text(s string) []byte {
	b, _ := json.Marshal(s) // a string always can be
	return b
}

// detailFields are the members of an event of which one holds its details.
var detailFields = sync.OnceValue(func() (fields []int) {
	t := reflect.TypeFor[types.HistoryEvent]()
	for i := range t.NumField() {
		if strings.HasSuffix(t.Field(i).Name, "EventDetails") {
			fields = append(fields, i)
		}
	}
	return fields
})

func appendDetails(b []byte, e types.HistoryEvent) []byte {
	v := reflect.ValueOf(&e).Elem()
	for _, i := range detailFields() {
		if f := v.Field(i); !f.IsNil() {
			return appendMembers(b, f.Elem())
		}
	}
	return append(b, "{}"...)
}

// A member is a member of a details type with its name in the log.
type member struct {
	index int
	name  string // with quotes and colon
}

var memberLists sync.Map // reflect.Type -> []member

func membersOf(t reflect.Type) []member {
	if list, ok := memberLists.Load(t); ok {
		return list.([]member)
	}
	var list []member
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			list = append(list, member{i, `"` + string(unicode.ToLower(rune(f.Name[0]))) + f.Name[1:] + `":`})
		}
	}
	memberLists.Store(t, list)
	return list
}

func appendMembers(b []byte, v reflect.Value) []byte {
	b = append(b, '{')
	empty := true
	for _, m := range membersOf(v.Type()) {
		f := v.Field(m.index)
		if (f.Kind() == reflect.Pointer || f.Kind() == reflect.Map) && f.IsNil() {
			continue
		}
		if !empty {
			b = append(b, ',')
		}
		empty = false
		b = append(b, m.name...)
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct {
			b = appendMembers(b, f)
			continue
		}
		plain, _ := json.Marshal(f.Interface()) // texts, numbers, flags
		b = append(b, plain...)
	}
	return append(b, '}')
}
