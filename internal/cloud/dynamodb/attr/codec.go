package attr

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// ErrCorrupt is returned for bytes that [Append] did not make.
var ErrCorrupt = errors.New("stored item is damaged")

// Tags of the stored form. They are on disk: never renumber.
const (
	tagNull byte = iota
	tagFalse
	tagTrue
	tagS
	tagN
	tagB
	tagSS
	tagNS
	tagBS
	tagM
	tagL
)

// Append appends the stored form of a checked item: a count, then names and
// values, all lengths as uvarints.
func Append(b []byte, item Item) []byte {
	b = binary.AppendUvarint(b, uint64(len(item)))
	for k, v := range item {
		b = appendText(b, k)
		b = appendValue(b, v)
	}
	return b
}

// AppendSorted appends a form that is the same for equal items without sets:
// names in order. It is for digests.
func AppendSorted(b []byte, item Item) []byte {
	for _, k := range slices.Sorted(maps.Keys(item)) {
		b = appendSorted(appendText(b, k), item[k])
	}
	return append(b, '}')
}

func appendSorted(b []byte, v Value) []byte {
	switch v := v.(type) {
	case *M:
		return AppendSorted(append(b, tagM), v.Value)
	case *L:
		b = binary.AppendUvarint(append(b, tagL), uint64(len(v.Value)))
		for _, e := range v.Value {
			b = appendSorted(b, e)
		}
		return b
	}
	return appendValue(b, v)
}

func appendText[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendList[T string | []byte](b []byte, tag byte, list []T) []byte {
	b = binary.AppendUvarint(append(b, tag), uint64(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}

func appendValue(b []byte, v Value) []byte {
	switch v := v.(type) {
	case *S:
		return appendText(append(b, tagS), v.Value)
	case *N:
		return appendText(append(b, tagN), v.Value)
	case *B:
		return appendText(append(b, tagB), v.Value)
	case *Bool:
		if v.Value {
			return append(b, tagTrue)
		}
		return append(b, tagFalse)
	case *SS:
		return appendList(b, tagSS, v.Value)
	case *NS:
		return appendList(b, tagNS, v.Value)
	case *BS:
		return appendList(b, tagBS, v.Value)
	case *M:
		return Append(append(b, tagM), v.Value)
	case *L:
		b = binary.AppendUvarint(append(b, tagL), uint64(len(v.Value)))
		for _, e := range v.Value {
			b = appendValue(b, e)
		}
		return b
	}
	return append(b, tagNull)
}

// Decode reads what [Append] wrote and returns the bytes after it. Values may
// share one string with all others.
func Decode(b []byte) (item Item, rest string, err error) { return DecodeAs(&values, string(b)) }

// DecodeAs is [Decode] for any union of types like [Value].
func DecodeAs[V any](u *Union[V], s string) (item map[string]V, rest string, err error) {
	d := decoder[V]{Union: u, s: s}
	item = d.item()
	if d.failed {
		return nil, "", ErrCorrupt
	}
	return item, d.s, nil
}

// A Union makes the variants of a union of types like [Value], of which
// DynamoDB Streams has its own.
type Union[V any] struct {
	S, N   func(string) V
	B      func([]byte) V
	SS, NS func([]string) V
	BS     func([][]byte) V
	M      func(map[string]V) V
	L      func([]V) V
	Null   func() V
	Bool   func(bool) V
}

var values = Union[Value]{
	S:    func(s string) Value { return &S{Value: s} },
	N:    func(s string) Value { return &N{Value: s} },
	B:    func(b []byte) Value { return &B{Value: b} },
	SS:   func(s []string) Value { return &SS{Value: s} },
	NS:   func(s []string) Value { return &NS{Value: s} },
	BS:   func(b [][]byte) Value { return &BS{Value: b} },
	M:    func(m map[string]Value) Value { return &M{Value: m} },
	L:    func(l []Value) Value { return &L{Value: l} },
	Null: func() Value { return &Null{Value: true} },
	Bool: func(b bool) Value { return &Bool{Value: b} },
}

// A decoder reads a string, of which texts are parts: an item costs one
// allocation for all its texts.
type decoder[V any] struct {
	*Union[V]
	s      string
	failed bool
}

// count reads a number of elements, of which each takes at least one byte.
func (d *decoder[V]) count() int {
	var n uint64
	for i := range min(len(d.s), 9) { // what takes more is longer than any string
		n |= uint64(d.s[i]&0x7f) << (7 * i)
		if d.s[i] < 0x80 {
			if d.s = d.s[i+1:]; n <= uint64(len(d.s)) {
				return int(n) //nolint:gosec // bounded by a length
			}
			break
		}
	}
	d.s, d.failed = "", true
	return 0
}

func (d *decoder[V]) text() string {
	n := d.count()
	out := d.s[:n]
	d.s = d.s[n:]
	return out
}

func (d *decoder[V]) item() map[string]V {
	n := d.count()
	item := make(map[string]V, n)
	for range n {
		k := d.text()
		item[k] = d.value()
	}
	return item
}

func (d *decoder[V]) texts() []string {
	out := make([]string, d.count())
	for i := range out {
		out[i] = d.text()
	}
	return out
}

func (d *decoder[V]) value() (v V) {
	if d.s == "" {
		d.failed = true
		return v
	}
	tag := d.s[0]
	d.s = d.s[1:]
	switch tag {
	case tagNull:
		return d.Null()
	case tagFalse, tagTrue:
		return d.Bool(tag == tagTrue)
	case tagS:
		return d.S(d.text())
	case tagN:
		return d.N(d.text())
	case tagB:
		return d.B([]byte(d.text()))
	case tagSS:
		return d.SS(d.texts())
	case tagNS:
		return d.NS(d.texts())
	case tagBS:
		out := make([][]byte, d.count())
		for i := range out {
			out[i] = []byte(d.text())
		}
		return d.BS(out)
	case tagM:
		return d.M(d.item())
	case tagL:
		out := make([]V, d.count())
		for i := range out {
			out[i] = d.value()
		}
		return d.L(out)
	}
	d.failed = true
	return v
}
