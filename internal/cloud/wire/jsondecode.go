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
	d := jsonDecoder{jsonScanner: jsonScanner{b: raw}, c: c}
	if err := d.value(v, nil, 0); err != nil {
		return nil, err
	}
	return d.unknown, nil
}

// A jsonDecoder walks over JSON that is known to be valid and sets values as
// it goes: no tree of any is built in between.
type jsonDecoder struct {
	jsonScanner

	c       *codec
	unknown []string
}

// A jsonPath is where in a body a value is; nil is the body itself. Its text is
// only made where something is to be said about it. One that is made outside of
// a loop stays on the stack.
type jsonPath struct {
	parent *jsonPath
	key    []byte // of a member; nil for an element
	index  int
}

// String is the path with a leading dot: ".Items[3].Name".
func (p *jsonPath) String() string {
	switch {
	case p == nil:
		return ""
	case p.key == nil:
		return p.parent.String() + "[" + strconv.Itoa(p.index) + "]"
	}
	return p.parent.String() + "." + string(p.key)
}

// name is the path as messages have it.
func (p *jsonPath) name() string { return strings.TrimPrefix(p.String(), ".") }

func (d *jsonDecoder) value(v reflect.Value, path *jsonPath, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is nested too deeply", path.String())
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
		return d.object(v, ch, path, depth)
	case t.Kind() == reflect.Slice:
		return d.list(v, ch, path, depth)
	case t.Kind() == reflect.Map:
		return d.table(v, ch, path, depth)
	}
	return d.scalar(v, ch, path)
}

func (d *jsonDecoder) object(v reflect.Value, ch byte, path *jsonPath, depth int) error {
	if ch != '{' {
		return mismatch(path, v.Type())
	}
	p := d.c.plan(v.Type())
	d.i++
	at := jsonPath{parent: path}
	for d.more('}') {
		at.key = d.key()
		f, ok := d.c.field(p, at.key)
		if !ok {
			d.ignore(&at)
			continue
		}
		if err := d.value(v.Field(f.index), &at, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// ignore moves past a member that nothing stands for.
func (d *jsonDecoder) ignore(at *jsonPath) {
	d.unknown = append(d.unknown, at.name())
	d.skip()
}

// table reads an object into a map. Key and value are made once: a map copies
// what it is given.
func (d *jsonDecoder) table(v reflect.Value, ch byte, path *jsonPath, depth int) error {
	t := v.Type()
	v.Set(reflect.MakeMap(t))
	if ch != '{' {
		return mismatch(path, t)
	}
	k, e := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
	d.i++
	at := jsonPath{parent: path}
	for d.more('}') {
		at.key = d.key()
		e.SetZero()
		if err := d.value(e, &at, depth+1); err != nil {
			return err
		}
		k.SetString(string(at.key))
		v.SetMapIndex(k, e)
	}
	return nil
}

func (d *jsonDecoder) list(v reflect.Value, ch byte, path *jsonPath, depth int) error {
	if ch != '[' {
		return mismatch(path, v.Type())
	}
	d.i++
	v.Set(reflect.MakeSlice(v.Type(), 0, 4))
	at := jsonPath{parent: path}
	for n := 0; d.more(']'); n++ {
		at.index = n
		v.Grow(1)
		v.SetLen(n + 1)
		e := v.Index(n)
		e.SetZero()
		if err := d.value(e, &at, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *jsonDecoder) union(v reflect.Value, path *jsonPath, depth int) error {
	variants := d.c.api.Unions[v.Type()]
	if variants == nil || d.peek() != '{' {
		return mismatch(path, v.Type())
	}
	set := 0
	d.i++
	at := jsonPath{parent: path}
	for d.more('}') {
		at.key = d.key()
		t, ok := variants[string(at.key)]
		if !ok && d.c.pascal {
			t, ok = variants[upperFirst(string(at.key))]
		}
		if !ok {
			d.ignore(&at)
			continue
		}
		if d.peek() == 'n' {
			d.skip()
			continue
		}
		set++
		u := reflect.New(t)
		if err := d.value(u.Elem().Field(d.c.plan(t).value), &at, depth+1); err != nil {
			return err
		}
		v.Set(u)
	}
	if set > 1 {
		return fmt.Errorf("%s: only one member of the union may be set", path.name())
	}
	return nil
}

func (d *jsonDecoder) scalar(v reflect.Value, ch byte, path *jsonPath) error {
	switch v.Kind() {
	case reflect.String:
		if ch != '"' {
			return mismatch(path, v.Type())
		}
		v.SetString(string(d.str()))
		return nil
	case reflect.Bool:
		if ch != 't' && ch != 'f' {
			return mismatch(path, v.Type())
		}
		v.SetBool(ch == 't')
		d.skip()
		return nil
	}
	if ch != '-' && (ch < '0' || ch > '9') && ch != '"' {
		return mismatch(path, v.Type())
	}
	text := string(d.raw())
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
			return fmt.Errorf("%s: %s is out of range", path.name(), text)
		}
		v.SetInt(n)
	default:
		return mismatch(path, v.Type())
	}
	if err != nil {
		return mismatch(path, v.Type())
	}
	return nil
}

func (d *jsonDecoder) bytes(v reflect.Value, path *jsonPath) error {
	if d.peek() != '"' {
		return mismatch(path, v.Type())
	}
	text := d.str()
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b, text)
	if err != nil {
		return fmt.Errorf("%s is not valid Base64", path.name())
	}
	v.SetBytes(b[:n])
	return nil
}

func (d *jsonDecoder) time(v reflect.Value, path *jsonPath) error {
	if d.peek() == '"' {
		t, err := time.Parse(time.RFC3339Nano, string(d.str()))
		if err != nil {
			return fmt.Errorf("%s is not a timestamp", path.name())
		}
		v.Set(reflect.ValueOf(t.UTC()))
		return nil
	}
	f, err := strconv.ParseFloat(string(d.raw()), 64)
	if err != nil || math.Abs(f) > 1e12 {
		return fmt.Errorf("%s is not a timestamp", path.name())
	}
	v.Set(reflect.ValueOf(epoch(f)))
	return nil
}

// epoch is the time f seconds after 1970, to the millisecond: AWS's precision.
func epoch(f float64) time.Time {
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(math.Round(frac*1e3))*1e6).UTC()
}

func mismatch(path *jsonPath, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return fmt.Errorf("%s: expected %s", path.name(), t.Kind())
}
