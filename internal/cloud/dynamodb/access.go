package dynamodb

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/dynamodb/expr"
	"miniforge/internal/cloud/wire"
)

// A touch is what a request wants of one table, for condition keys.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
type touch struct {
	action      string // "PutItem"
	table       *string
	index       *string
	keys        []attr.Item // with the partition keys that are touched
	attributes  []string    // top-level names; nil if all are meant
	returns     string      // ReturnValues
	selects     string      // Select
	enclosing   string      // the transaction or PartiQL statement
	scan        bool
	expressions []string
	names       map[string]string // placeholders of the expressions
}

// access is the touch as IAM judges it.
func (s *Service) access(c *wire.Call, t touch) authz.Access {
	name := s.nameOf(c.Region, t.table)
	a := authz.Access{Action: "dynamodb:" + t.action, Resource: s.tableARN(c.Region, name)}
	if t.index != nil {
		a.Resource += "/index/" + *t.index
	}
	// No policy narrows the root user: what follows would be for nobody.
	if c.Principal.Type == authz.Root {
		return a
	}
	a.Context = map[string][]string{}
	if keys := s.leadingKeys(c, name, t); len(keys) > 0 {
		a.Context["dynamodb:LeadingKeys"] = keys
	}
	attributes := t.attributes
	for _, e := range t.expressions {
		attributes = append(attributes, expr.TopNames(e, t.names)...)
	}
	if len(attributes) > 0 {
		slices.Sort(attributes)
		a.Context["dynamodb:Attributes"] = slices.Compact(attributes)
	}
	for _, said := range []struct{ key, value string }{
		{"dynamodb:ReturnValues", t.returns}, {"dynamodb:Select", t.selects}, {"dynamodb:EnclosingOperation", t.enclosing},
	} {
		if said.value != "" {
			a.Context[said.key] = []string{said.value}
		}
	}
	if t.scan {
		a.Context["dynamodb:FullTableScan"] = []string{"true"}
	}
	return a
}

func (s *Service) leadingKeys(c *wire.Call, name string, t touch) []string {
	if len(t.keys) == 0 {
		return nil
	}
	table, err := s.lookup(c.Region, name)
	if err != nil || table == nil {
		return nil // the operation will say so
	}
	hash := table.Schema.Hash
	if t.index != nil {
		if ix := table.index(*t.index); ix != nil {
			hash = ix.Schema.Hash
		}
	}
	var out []string
	for _, k := range t.keys {
		switch v := k[hash].(type) {
		case *attr.S:
			out = append(out, v.Value)
		case *attr.N:
			out = append(out, v.Value)
		case *attr.B:
			out = append(out, base64.StdEncoding.EncodeToString(v.Value))
		}
	}
	return out
}

// touches registers the access of an operation on items of one table.
func touches[In any](s *Service, f func(*In) touch) wire.Option {
	return wire.Needs(func(c *wire.Call, in *In) []authz.Access {
		t := f(in)
		t.action = c.Op
		return []authz.Access{s.access(c, t)}
	})
}

// onTable registers the access of an operation on a table as a whole.
func onTable[In any](s *Service, name func(*In) *string) wire.Option {
	return touches(s, func(in *In) touch { return touch{table: name(in)} })
}

// onARN registers the access of an operation on a resource that is named by its ARN.
func onARN[In any](arn func(*In) *string) wire.Option {
	return wire.On(func(_ *wire.Call, in *In) []string { return []string{deref(arn(in))} })
}

// condensed are the expressions that were given.
func condensed(given ...*string) []string {
	var out []string
	for _, e := range given {
		if e != nil {
			out = append(out, *e)
		}
	}
	return out
}

// namesOf are the names in m, in order.
func namesOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// requestTags are the condition keys of tags that a request brings.
func requestTags(tags []types.Tag) map[string][]string {
	out := map[string][]string{}
	for _, t := range tags {
		out["aws:RequestTag/"+deref(t.Key)] = []string{deref(t.Value)}
		out["aws:TagKeys"] = append(out["aws:TagKeys"], deref(t.Key))
	}
	return out
}

// tableOfARN is the table that an ARN names, or lies in: "" if it names none.
func (s *Service) tableOfARN(region, arn string) string {
	rest, ok := strings.CutPrefix(arn, s.tableARN(region, ""))
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}
