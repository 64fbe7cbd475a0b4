package expr

import (
	"strconv"
	"strings"

	"miniforge/internal/cloud/dynamodb/attr"
)

// A Path leads to an attribute or into one: a.b[1].
type Path []Step

// A Step is a member of a map or, if List is set, an element of a list.
type Step struct {
	Name  string // a placeholder until it is resolved
	Index int
	List  bool
}

// Top is the name of the attribute in which the path lies.
func (p Path) Top() string { return p[0].Name }

// String is the path as messages show it: "[a, [1], b]".
func (p Path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		parts[i] = s.Name
		if s.List {
			parts[i] = "[" + strconv.Itoa(s.Index) + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// Get returns what the path leads to in item; nil if there is nothing.
func (p Path) Get(item attr.Item) attr.Value {
	v := item[p[0].Name]
	for _, s := range p[1:] {
		v = child(v, s)
	}
	return v
}

func child(v attr.Value, s Step) attr.Value {
	switch v := v.(type) {
	case *attr.M:
		if !s.List {
			return v.Value[s.Name]
		}
	case *attr.L:
		if s.List && s.Index < len(v.Value) {
			return v.Value[s.Index]
		}
	}
	return nil
}

// disjoint refuses paths of which one lies in another, or which take one
// thing for both a map and a list.
func (k Kind) disjoint(paths []Path) error {
	for i, p := range paths {
		for _, q := range paths[:i] {
			switch n := common(q, p); {
			case n == len(p) || n == len(q):
				return k.invalid("Two document paths overlap with each other; must remove or rewrite one of these paths; path one: %v, path two: %v", q, p)
			case p[n].List != q[n].List:
				return k.invalid("Two document paths conflict with each other; must remove or rewrite one of these paths; path one: %v, path two: %v", q, p)
			}
		}
	}
	return nil
}

// common counts the steps that two paths share from their beginning.
func common(p, q Path) int {
	n := 0
	for n < len(p) && n < len(q) && p[n] == q[n] {
		n++
	}
	return n
}

// A Projection is the part of an item that some paths lead to.
type Projection struct {
	paths []Path
	root  *branch
}

// A branch is what is wanted below one point; without children: everything.
type branch struct {
	names   map[string]*branch
	indexes []int // in order
	at      map[int]*branch
}

// NewProjection makes a projection of paths that do not overlap.
func NewProjection(paths []Path) *Projection {
	p := &Projection{paths: paths, root: &branch{}}
	for _, path := range paths {
		b := p.root
		for _, s := range path {
			b = b.sub(s)
		}
	}
	return p
}

// Paths are the projected paths.
func (p *Projection) Paths() []Path { return p.paths }

func (b *branch) sub(s Step) *branch {
	if !s.List {
		if b.names == nil {
			b.names = map[string]*branch{}
		}
		if b.names[s.Name] == nil {
			b.names[s.Name] = &branch{}
		}
		return b.names[s.Name]
	}
	if b.at == nil {
		b.at = map[int]*branch{}
	}
	if b.at[s.Index] == nil {
		b.at[s.Index] = &branch{}
		i := len(b.indexes)
		for i > 0 && b.indexes[i-1] > s.Index {
			i--
		}
		b.indexes = append(b.indexes[:i], append([]int{s.Index}, b.indexes[i:]...)...)
	}
	return b.at[s.Index]
}

// Apply returns the projected part of an item. Values are shared with it.
func (p *Projection) Apply(item attr.Item) attr.Item { return p.root.members(item) }

func (b *branch) members(m attr.Item) attr.Item {
	out := attr.Item{}
	for name, sub := range b.names {
		if v := sub.of(m[name]); v != nil {
			out[name] = v
		}
	}
	return out
}

// of is the wanted part of v; nil if there is none.
func (b *branch) of(v attr.Value) attr.Value {
	if v == nil || b.names == nil && b.at == nil {
		return v
	}
	switch v := v.(type) {
	case *attr.M:
		if m := b.members(v.Value); len(m) > 0 {
			return &attr.M{Value: m}
		}
	case *attr.L:
		var out []attr.Value
		for _, i := range b.indexes {
			if i < len(v.Value) {
				if e := b.at[i].of(v.Value[i]); e != nil {
					out = append(out, e)
				}
			}
		}
		if out != nil {
			return &attr.L{Value: out}
		}
	}
	return nil
}
