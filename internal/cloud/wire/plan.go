package wire

import (
	"io"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

var (
	timeType   = reflect.TypeFor[time.Time]()
	readerType = reflect.TypeFor[io.Reader]()
	closerType = reflect.TypeFor[io.ReadCloser]()
)

// A codec knows how the shapes of one API look on the wire. What reflection
// finds out about a type is kept, so that it is found out once.
type codec struct {
	api    *API
	pascal bool // names as CallJSON has them, for every API
	plans  sync.Map
}

// codecFor returns the codec of an API. One that no Mux has, which stands for a
// service that is not known, has none that is kept.
func codecFor(api *API, pascal bool) *codec {
	switch {
	case api.own == nil:
		return &codec{api: api, pascal: pascal}
	case pascal:
		return api.pascal
	}
	return api.own
}

// A structPlan lists the members of a struct.
type structPlan struct {
	fields []fieldPlan
	byName map[string]int // wire name -> index in fields

	variant string // wire name, if the struct is a variant of a union
	value   int    // index of the field that holds a variant's value
}

type fieldPlan struct {
	index int
	name  string // Go
	wire  string
	key   []byte // `"wire":`
	flat  bool
	item  string // element name of a wrapped list in XML
}

func (c *codec) plan(t reflect.Type) *structPlan {
	if p, ok := c.plans.Load(t); ok {
		return p.(*structPlan)
	}
	p := &structPlan{byName: map[string]int{}}
	_, p.variant, _ = strings.Cut(t.Name(), "Member")
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Name == "ResultMetadata" {
			continue
		}
		w := c.wireName(t, f.Name)
		fp := fieldPlan{index: i, name: f.Name, wire: w, key: []byte(`"` + w + `":`), item: "member"}
		fp.flat = c.api.Flat[t.Name()+"."+f.Name] || c.api.Flat[f.Name]
		for _, k := range []string{f.Name, t.Name() + "." + f.Name} {
			if s, ok := c.api.Items[k]; ok {
				fp.item = s
			}
		}
		if f.Name == "Value" {
			p.value = i
		}
		p.byName[w] = len(p.fields)
		p.fields = append(p.fields, fp)
	}
	actual, _ := c.plans.LoadOrStore(t, p)
	return actual.(*structPlan)
}

// wireName applies the API's rule and its exceptions. Go adds "_" to names that
// would be keywords or clash.
func (c *codec) wireName(t reflect.Type, field string) string {
	name := strings.TrimSuffix(field, "_")
	if c.pascal {
		return name
	}
	if n, ok := c.api.Names[t.Name()+"."+field]; ok {
		return n
	}
	if n, ok := c.api.Names[field]; ok {
		return n
	}
	if c.api.LowerFirst {
		return lowerFirst(name)
	}
	return name
}

// field finds a member by its wire name. CallJSON also takes a lower-case first letter.
func (c *codec) field(p *structPlan, name []byte) (*fieldPlan, bool) {
	i, ok := p.byName[string(name)]
	if !ok && c.pascal {
		i, ok = p.byName[upperFirst(string(name))]
	}
	if !ok {
		return nil, false
	}
	return &p.fields[i], true
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}

func upperFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// alloc returns v itself, or what a pointer v points to, made if need be.
func alloc(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	return v
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}
