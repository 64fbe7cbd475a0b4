package wire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth bounds nesting, as AWS does, so that no body can exhaust the stack.
const maxDepth = 128

// decodeJSON reads raw into v, a struct. It returns the paths of members that
// the type does not have: a caller is told about them, never silently ignored.
func (c *codec) decodeJSON(v reflect.Value, raw []byte) (unknown []string, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("the request body is not valid JSON")
	}
	d := jsonDecoder{c: c, b: raw}
	if err := d.value(v, "", 0); err != nil {
		return nil, err
	}
	return d.unknown, nil
}

// A jsonDecoder walks over JSON that is known to be valid and sets values as
// it goes: no tree of any is built in between.
type jsonDecoder struct {
	c       *codec
	b       []byte
	i       int
	unknown []string
}

func (d *jsonDecoder) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

func (d *jsonDecoder) peek() byte {
	d.space()
	return d.b[d.i]
}

func (d *jsonDecoder) value(v reflect.Value, path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is nested too deeply", path)
	}
	ch := d.peek()
	if ch == 'n' {
		d.i += len("null")
		return nil
	}
	if v.Kind() == reflect.Interface {
		return d.union(v, path, depth)
	}
	v = alloc(v)
	t := v.Type()
	switch {
	case t == timeType:
		return d.time(v, path)
	case isBytes(t):
		return d.bytes(v, path)
	case t.Kind() == reflect.Struct:
		return d.object(ch, path, t, func(key string) error { return d.member(v, key, path, depth) })
	case t.Kind() == reflect.Slice:
		return d.list(v, ch, path, depth)
	case t.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(t))
		return d.object(ch, path, t, func(key string) error {
			e := reflect.New(t.Elem()).Elem()
			if err := d.value(e, path+"."+key, depth+1); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), e)
			return nil
		})
	}
	return d.scalar(v, ch, path)
}

func (d *jsonDecoder) object(ch byte, path string, t reflect.Type, member func(string) error) error {
	if ch != '{' {
		return d.mismatch(path, t)
	}
	d.i++
	for d.peek() != '}' {
		if d.b[d.i] == ',' {
			d.i++
			d.space()
		}
		key := d.str()
		d.space()
		d.i++ // ':'
		if err := member(key); err != nil {
			return err
		}
	}
	d.i++
	return nil
}

func (d *jsonDecoder) member(v reflect.Value, key, path string, depth int) error {
	p := d.c.plan(v.Type())
	f, ok := d.c.field(p, key)
	if !ok {
		d.unknown = append(d.unknown, strings.TrimPrefix(path+"."+key, "."))
		d.skip()
		return nil
	}
	return d.value(v.Field(f.index), path+"."+key, depth+1)
}

func (d *jsonDecoder) list(v reflect.Value, ch byte, path string, depth int) error {
	if ch != '[' {
		return d.mismatch(path, v.Type())
	}
	d.i++
	v.Set(reflect.MakeSlice(v.Type(), 0, 4))
	for n := 0; d.peek() != ']'; n++ {
		if d.b[d.i] == ',' {
			d.i++
		}
		v.Grow(1)
		v.SetLen(n + 1)
		e := v.Index(n)
		e.SetZero()
		if err := d.value(e, path+"["+strconv.Itoa(n)+"]", depth+1); err != nil {
			return err
		}
	}
	d.i++
	return nil
}

func (d *jsonDecoder) union(v reflect.Value, path string, depth int) error {
	variants := d.c.api.Unions[v.Type()]
	if variants == nil || d.peek() != '{' {
		return d.mismatch(path, v.Type())
	}
	set := 0
	err := d.object('{', path, v.Type(), func(key string) error {
		name := key
		if d.c.pascal {
			name = upperFirst(key)
		}
		t, ok := variants[name]
		if !ok {
			d.unknown = append(d.unknown, strings.TrimPrefix(path+"."+key, "."))
			d.skip()
			return nil
		}
		if d.peek() == 'n' {
			d.skip()
			return nil
		}
		set++
		u := reflect.New(t)
		if err := d.value(u.Elem().FieldByName("Value"), path+"."+key, depth+1); err != nil {
			return err
		}
		v.Set(u)
		return nil
	})
	if err == nil && set > 1 {
		return fmt.Errorf("%s: only one member of the union may be set", strings.TrimPrefix(path, "."))
	}
	return err
}

func (d *jsonDecoder) scalar(v reflect.Value, ch byte, path string) error {
	switch v.Kind() {
	case reflect.String:
		if ch != '"' {
			return d.mismatch(path, v.Type())
		}
		v.SetString(d.str())
		return nil
	case reflect.Bool:
		if ch != 't' && ch != 'f' {
			return d.mismatch(path, v.Type())
		}
		v.SetBool(ch == 't')
		d.skip()
		return nil
	}
	if ch != '-' && (ch < '0' || ch > '9') && ch != '"' {
		return d.mismatch(path, v.Type())
	}
	text := d.raw()
	if ch == '"' {
		text = strings.Trim(text, `"`)
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case v.Kind() == reflect.Float64 || v.Kind() == reflect.Float32:
		v.SetFloat(f)
	case v.CanInt():
		n, ierr := strconv.ParseInt(text, 10, 64)
		if ierr != nil {
			n = int64(f) // 1e3, 5.0: AWS truncates
		}
		if v.OverflowInt(n) || err != nil || math.Abs(f) > 1<<63 {
			return fmt.Errorf("%s: %s is out of range", strings.TrimPrefix(path, "."), text)
		}
		v.SetInt(n)
	default:
		return d.mismatch(path, v.Type())
	}
	if err != nil {
		return d.mismatch(path, v.Type())
	}
	return nil
}

func (d *jsonDecoder) bytes(v reflect.Value, path string) error {
	if d.peek() != '"' {
		return d.mismatch(path, v.Type())
	}
	b, err := base64.StdEncoding.DecodeString(d.str())
	if err != nil {
		return fmt.Errorf("%s is not valid Base64", strings.TrimPrefix(path, "."))
	}
	v.SetBytes(b)
	return nil
}

func (d *jsonDecoder) time(v reflect.Value, path string) error {
	if d.peek() == '"' {
		t, err := time.Parse(time.RFC3339Nano, d.str())
		if err != nil {
			return fmt.Errorf("%s is not a timestamp", strings.TrimPrefix(path, "."))
		}
		v.Set(reflect.ValueOf(t.UTC()))
		return nil
	}
	f, err := strconv.ParseFloat(d.raw(), 64)
	if err != nil || math.Abs(f) > 1e12 {
		return fmt.Errorf("%s is not a timestamp", strings.TrimPrefix(path, "."))
	}
	v.Set(reflect.ValueOf(epoch(f)))
	return nil
}

// epoch is the time f seconds after 1970, to the millisecond: AWS's precision.
func epoch(f float64) time.Time {
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(math.Round(frac*1e3))*1e6).UTC()
}

func (d *jsonDecoder) mismatch(path string, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return fmt.Errorf("%s: expected %s", strings.TrimPrefix(path, "."), t.Kind())
}

// str reads a string; plain ones are copied as they are.
func (d *jsonDecoder) str() string {
	start := d.i
	raw := d.raw()
	if !strings.ContainsRune(raw, '\\') && utf8.ValidString(raw) {
		return raw[1 : len(raw)-1]
	}
	var s string
	_ = json.Unmarshal(d.b[start:d.i], &s) // valid: checked as a whole before
	return s
}

// raw returns the text of the scalar at the position and moves past it.
func (d *jsonDecoder) raw() string {
	d.space()
	start := d.i
	if d.b[d.i] == '"' {
		for d.i++; d.b[d.i] != '"'; d.i++ {
			if d.b[d.i] == '\\' {
				d.i++
			}
		}
		d.i++
		return string(d.b[start:d.i])
	}
	for d.i < len(d.b) && !strings.ContainsRune(",]} \t\r\n:", rune(d.b[d.i])) {
		d.i++
	}
	return string(d.b[start:d.i])
}

// skip moves past one value of any kind.
func (d *jsonDecoder) skip() {
	for depth := 0; ; {
		switch d.peek() {
		case '{', '[':
			depth++
			d.i++
		case '}', ']':
			depth--
			d.i++
		case ',', ':':
			d.i++
		default:
			d.raw()
		}
		if depth == 0 {
			return
		}
	}
}
