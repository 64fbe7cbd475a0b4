// Package asl is the Amazon States Language with JSONPath: it parses and
// validates definitions and evaluates paths, payload templates, intrinsic
// functions, choice rules, retriers and catchers. It is pure: it knows no
// clock, no store and no service, and changes no value that it is given or has
// returned: values share their parts with each other.
//
// https://states-language.net/spec.html
package asl

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"sync"

	"miniforge/internal/cloud/jsontext"
)

// MaxPayload is the size in bytes that no input, output or result may exceed.
const MaxPayload = 262_144

// Encode writes a value that [Decode] or this package made, as [json.Encoder]
// does without HTML escapes. Every state's input, output and parameters come by
// here: what they are made of is written without reflection.
func Encode(v any) (raw []byte) {
	encode(v, func(b []byte) { raw = append([]byte{}, b...) })
	return raw
}

// EncodeToString is [Encode] for those who want a string.
func EncodeToString(v any) (text string) {
	encode(v, func(b []byte) { text = string(b) })
	return text
}

// buffers are for writing: what is written is copied once its size is known.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxBuffer bounds the buffers that are kept.
const maxBuffer = 64 << 10

// encode lends a value's JSON to use.
func encode(v any, use func([]byte)) {
	b := buffers.Get().(*[]byte)
	*b = appendJSON((*b)[:0], v)
	use(*b)
	if cap(*b) <= maxBuffer {
		buffers.Put(b)
	}
}

func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return appendFloat(b, v)
		}
	case string:
		return appendText(b, v)
	case []any:
		if v == nil {
			return append(b, "null"...)
		}
		b = append(b, '[')
		for i, x := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, x)
		}
		return append(b, ']')
	case map[string]any:
		return appendObject(b, v)
	}
	return appendAny(b, v)
}

func appendObject(b []byte, v map[string]any) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	var few [16]string // most objects are no larger
	names := few[:0]
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(append(appendText(b, name), ':'), v[name])
	}
	return append(b, '}')
}

// appendFloat writes as ES6 does, which is the form of [encoding/json].
func appendFloat(b []byte, f float64) []byte {
	form, size := byte('f'), math.Abs(f)
	if size != 0 && (size < 1e-6 || size >= 1e21) {
		form = 'e'
	}
	b = strconv.AppendFloat(b, f, form, -1, 64)
	if n := len(b); form == 'e' && b[n-4] == 'e' && b[n-2] == '0' {
		b[n-2] = b[n-1] // e-09 is e-9
		b = b[:n-1]
	}
	return b
}

func appendText(b []byte, s string) []byte { return jsontext.AppendString(b, s, false) }

func appendAny(b []byte, v any) []byte {
	w := bytes.NewBuffer(b)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		// Only a value that is no JSON can do this: a programming error.
		panic("asl: " + err.Error())
	}
	return bytes.TrimSuffix(w.Bytes(), []byte("\n"))
}

// float is the value of a JSON number.
func float(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	return 0, false
}

// integer is the value of a JSON number without a fraction.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case float64:
		return int64(v), v == float64(int64(v))
	case json.Number:
		f, err := v.Float64()
		return int64(f), err == nil && f == float64(int64(f))
	}
	return 0, false
}

// text is a value as error messages show it.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return EncodeToString(v)
}
