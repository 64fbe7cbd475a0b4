package wire

import (
	"encoding/base64"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"miniforge/internal/cloud/jsontext"
)

// appendJSON writes v. Absent members (nil pointers, slices, maps, empty
// strings that are no pointers: enums) are left out; numbers and booleans that
// are no pointers are always there, as AWS sends them.
func (c *codec) appendJSON(b []byte, v reflect.Value) []byte {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return append(b, "null"...)
		}
		v = v.Elem()
	}
	t := v.Type()
	switch {
	case t == timeType:
		return c.appendTime(b, v.Interface().(time.Time))
	case isBytes(t):
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"')
	}
	switch v.Kind() {
	case reflect.Struct:
		return c.appendStruct(b, v, nil)
	case reflect.Interface:
		return c.appendUnion(b, v)
	case reflect.Slice:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.appendJSON(b, v.Index(i))
		}
		return append(b, ']')
	case reflect.Map:
		return c.appendMap(b, v)
	case reflect.String:
		return appendString(b, v.String())
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool())
	case reflect.Float64, reflect.Float32:
		return appendFloat(b, v.Float())
	}
	if v.CanInt() {
		return strconv.AppendInt(b, v.Int(), 10)
	}
	return append(b, "null"...)
}

// appendStruct writes the members of v but those that skip names.
func (c *codec) appendStruct(b []byte, v reflect.Value, skip func(fieldPlan) bool) []byte {
	b = append(b, '{')
	first := true
	fields := c.plan(v.Type()).fields
	for i := range fields {
		f := &fields[i]
		fv := v.Field(f.index)
		if absent(fv) || skip != nil && skip(*f) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, f.key...)
		b = c.appendJSON(b, fv)
	}
	return append(b, '}')
}

func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	}
	return false
}

func (c *codec) appendUnion(b []byte, v reflect.Value) []byte {
	if v.IsNil() || v.Elem().Kind() != reflect.Pointer || v.Elem().IsNil() {
		return append(b, "null"...)
	}
	u := v.Elem().Elem()
	p := c.plan(u.Type())
	b = append(b, '{')
	b = appendString(b, p.variant)
	b = append(b, ':')
	b = c.appendJSON(b, u.Field(p.value))
	return append(b, '}')
}

// appendMap writes a map in the order of its keys.
func (c *codec) appendMap(b []byte, v reflect.Value) []byte {
	type pair struct {
		key string
		at  int // of its value
	}
	t := v.Type()
	pairs := make([]pair, 0, v.Len())
	key, values := reflect.New(t.Key()).Elem(), reflect.MakeSlice(reflect.SliceOf(t.Elem()), v.Len(), v.Len())
	for all := v.MapRange(); all.Next(); {
		key.SetIterKey(all)
		values.Index(len(pairs)).SetIterValue(all)
		pairs = append(pairs, pair{key.String(), len(pairs)})
	}
	slices.SortFunc(pairs, func(x, y pair) int { return strings.Compare(x.key, y.key) })
	b = append(b, '{')
	for i, p := range pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, p.key)
		b = append(b, ':')
		b = c.appendJSON(b, values.Index(p.at))
	}
	return append(b, '}')
}

func (c *codec) appendTime(b []byte, t time.Time) []byte {
	if c.api.ISOTime {
		return appendString(b, isoTime(t))
	}
	if ms := t.UnixMilli(); ms%1000 == 0 {
		return strconv.AppendInt(b, ms/1000, 10)
	}
	return strconv.AppendFloat(b, float64(t.UnixMilli())/1e3, 'f', 3, 64)
}

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, `"NaN"`...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// appendString quotes s without HTML escapes, as AWS does: clients compare
// bodies by their digest.
func appendString(b []byte, s string) []byte { return jsontext.AppendString(b, s, false) }
