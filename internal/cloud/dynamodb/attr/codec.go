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

// Decode reads what [Append] wrote and returns the bytes after it.
func Decode(b []byte) (item Item, rest []byte, err error) {
	d := decoder{b: b}
	item = d.item()
	if d.failed {
		return nil, nil, ErrCorrupt
	}
	return item, d.b, nil
}

type decoder struct {
	b      []byte
	failed bool
}

// count reads a number of elements, of which each takes at least one byte.
func (d *decoder) count() int {
	n, w := binary.Uvarint(d.b)
	if w <= 0 || n > uint64(len(d.b)-w) {
		d.b, d.failed = nil, true
		return 0
	}
	d.b = d.b[w:]
	return int(n) //nolint:gosec // bounded by a length
}

func (d *decoder) bytes() []byte {
	n := d.count()
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) item() Item {
	n := d.count()
	item := make(Item, n)
	for range n {
		k := string(d.bytes())
		item[k] = d.value()
	}
	return item
}

func (d *decoder) texts() []string {
	out := make([]string, d.count())
	for i := range out {
		out[i] = string(d.bytes())
	}
	return out
}

func (d *decoder) value() Value {
	if len(d.b) == 0 {
		d.failed = true
		return nil
	}
	tag := d.b[0]
	d.b = d.b[1:]
	switch tag {
	case tagNull:
		return &Null{Value: true}
	case tagFalse, tagTrue:
		return &Bool{Value: tag == tagTrue}
	case tagS:
		return &S{Value: string(d.bytes())}
	case tagN:
		return &N{Value: string(d.bytes())}
	case tagB:
		return &B{Value: append([]byte{}, d.bytes()...)}
	case tagSS:
		return &SS{Value: d.texts()}
	case tagNS:
		return &NS{Value: d.texts()}
	case tagBS:
		out := make([][]byte, d.count())
		for i := range out {
			out[i] = append([]byte{}, d.bytes()...)
		}
		return &BS{Value: out}
	case tagM:
		return &M{Value: d.item()}
	case tagL:
		out := make([]Value, d.count())
		for i := range out {
			out[i] = d.value()
		}
		return &L{Value: out}
	}
	d.failed = true
	return nil
}
