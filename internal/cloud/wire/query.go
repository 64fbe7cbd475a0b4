package wire

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A node is a query parameter with its parts: "A.member.1.B" is four levels.
type node struct {
	value string
	kids  map[string]*node
	used  bool
}

func (n *node) at(path string) *node {
	for p := range strings.SplitSeq(path, ".") {
		if n.kids == nil {
			n.kids = map[string]*node{}
		}
		if n.kids[p] == nil {
			n.kids[p] = &node{}
		}
		n = n.kids[p]
	}
	return n
}

// decodeQuery reads the parameters of a query request into v, a struct.
func (c *codec) decodeQuery(v reflect.Value, form url.Values) (unknown []string, err error) {
	root := &node{}
	for k, vs := range form {
		if k == "Action" || k == "Version" {
			continue
		}
		if strings.Count(k, ".") > maxDepth {
			return nil, fmt.Errorf("%.40s... is nested too deeply", k)
		}
		root.at(k).value = vs[0]
	}
	if err := c.fromNode(v, root, ""); err != nil {
		return nil, err
	}
	for k, n := range root.kids {
		if !n.used {
			unknown = append(unknown, k)
		}
	}
	slices.Sort(unknown)
	return unknown, nil
}

func (c *codec) fromNode(v reflect.Value, n *node, path string) error {
	v = alloc(v)
	t := v.Type()
	switch {
	case t == timeType, isBytes(t):
		return setText(v, n.value, path)
	case t.Kind() == reflect.Interface:
		return c.unionFromNode(v, n, path)
	case t.Kind() == reflect.Struct:
		for _, f := range c.plan(t).fields {
			k := n.kids[f.wire]
			if k == nil {
				continue
			}
			k.used = true
			if err := c.fromNode(v.Field(f.index), k, path+"."+f.wire); err != nil {
				return err
			}
		}
		return nil
	case t.Kind() == reflect.Slice:
		items := n.items("member")
		v.Set(reflect.MakeSlice(t, len(items), len(items)))
		for i, it := range items {
			if err := c.fromNode(v.Index(i), it, fmt.Sprintf("%s.member.%d", path, i+1)); err != nil {
				return err
			}
		}
		return nil
	case t.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(t))
		for _, it := range n.items("entry") {
			k := it.either("key", "Name")
			if k == nil {
				return fmt.Errorf("%s: an entry has no key", strings.TrimPrefix(path, "."))
			}
			e := reflect.New(t.Elem()).Elem()
			if x := it.either("value", "Value"); x != nil {
				if err := c.fromNode(e, x, path+".value"); err != nil {
					return err
				}
			}
			v.SetMapIndex(reflect.ValueOf(k.value).Convert(t.Key()), e)
		}
		return nil
	}
	return setText(v, n.value, path)
}

// either finds a part by one of the two names that maps use: SNS calls the
// parts of message attributes Name and Value.
func (n *node) either(a, b string) *node {
	if k := n.kids[a]; k != nil {
		return k
	}
	return n.kids[b]
}

// unionFromNode reads the one variant that is there; an unknown one is left out.
func (c *codec) unionFromNode(v reflect.Value, n *node, path string) error {
	if len(n.kids) > 1 {
		return fmt.Errorf("%s: more than one member of a union is set", strings.TrimPrefix(path, "."))
	}
	for name, k := range n.kids {
		t, ok := c.api.Unions[v.Type()][name]
		if !ok {
			continue
		}
		u := reflect.New(t)
		if err := c.fromNode(u.Elem().FieldByName("Value"), k, path+"."+name); err != nil {
			return err
		}
		v.Set(u)
	}
	return nil
}

// items are the elements of a list or map, wrapped or flattened, in order.
// Gaps in the numbering are passed over, as AWS does.
func (n *node) items(wrapper string) []*node {
	if k := n.kids[wrapper]; k != nil {
		n = k
	}
	type numbered struct {
		i int
		n *node
	}
	var all []numbered
	for k, v := range n.kids {
		if i, err := strconv.Atoi(k); err == nil {
			all = append(all, numbered{i, v})
		}
	}
	slices.SortFunc(all, func(a, b numbered) int { return a.i - b.i })
	out := make([]*node, len(all))
	for i, x := range all {
		out[i] = x.n
	}
	return out
}

// setText sets v from text as it stands in query parameters, XML, paths and headers.
func setText(v reflect.Value, s, path string) error {
	v = alloc(v)
	bad := func() error { return fmt.Errorf("%s: %q is not a %s", strings.TrimPrefix(path, "."), s, v.Kind()) }
	switch {
	case v.Type() == timeType:
		t, err := parseTime(s)
		if err != nil {
			return fmt.Errorf("%s: %q is not a timestamp", strings.TrimPrefix(path, "."), s)
		}
		v.Set(reflect.ValueOf(t))
	case isBytes(v.Type()):
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return fmt.Errorf("%s is not valid Base64", strings.TrimPrefix(path, "."))
		}
		v.SetBytes(b)
	case v.Kind() == reflect.String:
		v.SetString(s)
	case v.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return bad()
		}
		v.SetBool(b)
	case v.CanInt():
		i, err := strconv.ParseInt(s, 10, 64)
		if err != nil || v.OverflowInt(i) {
			return bad()
		}
		v.SetInt(i)
	case v.CanFloat():
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return bad()
		}
		v.SetFloat(f)
	default:
		return bad()
	}
	return nil
}

var timeFormats = []string{time.RFC3339Nano, "Mon, 02 Jan 2006 15:04:05 GMT", "2006-01-02T15:04:05"}

func parseTime(s string) (time.Time, error) {
	for _, f := range timeFormats {
		if t, err := time.Parse(f, s); err == nil {
			return t.UTC(), nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return time.Time{}, err
	}
	return epoch(f), nil
}
