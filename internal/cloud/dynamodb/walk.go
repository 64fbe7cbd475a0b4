package dynamodb

import (
	"iter"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/dynamodb/expr"
	"miniforge/internal/cloud/store"
)

// A walk is a span of rows of a table or an index, in one direction.
type walk struct {
	index    *index // nil: the table itself
	from, to string // row keys; from <= key < to
	down     bool
}

// base begins the keys of all rows of the walk's table or index.
func (w *walk) base(a *access) string {
	if w.index != nil {
		return a.indexPrefix(w.index)
	}
	return a.prefix
}

// between sets the span that a key condition describes.
func (w *walk) between(a *access, tests []expr.KeyTest, forward bool) error {
	sc := a.schemaOf(w.index)
	hash, sort, err := a.split(sc, tests)
	if err != nil {
		return err
	}
	w.down = !forward
	p := string(a.partition([]byte(w.base(a)), hash.Values[0]))
	w.from, w.to = p, store.PrefixEnd(p)
	if sort == nil {
		return nil
	}
	at := func(v attr.Value) string { return p + string(attr.AppendOrdered(nil, v)) }
	v := sort.Values[0]
	switch sort.Op {
	case "=":
		w.from, w.to = at(v), store.PrefixEnd(at(v))
	case "<":
		w.to = at(v)
	case "<=":
		w.to = store.PrefixEnd(at(v))
	case ">":
		w.from = store.PrefixEnd(at(v))
	case ">=":
		w.from = at(v)
	case "BETWEEN":
		w.from, w.to = at(v), store.PrefixEnd(at(sort.Values[1]))
	case "begins_with":
		w.from = p + string(attr.AppendPrefix(nil, v))
		w.to = store.PrefixEnd(w.from)
	}
	return nil
}

// split tells the test of the partition key from that of the sort key, which
// may be missing, and checks both.
func (a *access) split(sc schema, tests []expr.KeyTest) (hash, sort *expr.KeyTest, err error) {
	for i := range tests {
		switch tests[i].Name {
		case sc.Hash:
			hash = &tests[i]
		case sc.Range:
			sort = &tests[i]
		}
	}
	switch {
	case sc.Range == "" && len(tests) > 1:
		return nil, nil, invalid("Query key condition not supported")
	case hash == nil:
		return nil, nil, invalid("Query condition missed key schema element: %s", sc.Hash)
	case len(tests) > 1 && sort == nil:
		return nil, nil, invalid("Query condition missed key schema element: %s", sc.Range)
	case hash.Op != "=":
		return nil, nil, invalid("Query key condition not supported")
	}
	for _, t := range tests {
		for _, v := range t.Values {
			if attr.Type(v) != a.Attributes[t.Name] {
				return nil, nil, invalidValue("Condition parameter type does not match schema type")
			}
			if attr.Size(v) == 0 && t.Op != "begins_with" {
				return nil, nil, invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", kindName(v), t.Name)
			}
		}
		if t.Op == "begins_with" && a.Attributes[t.Name] == "N" {
			return nil, nil, invalid("Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N")
		}
	}
	return hash, sort, nil
}

// row is the key of the walk's row for an item of which key attributes are known.
func (w *walk) row(a *access, key attr.Item) string {
	place := a.place(key)
	if w.index == nil {
		return a.prefix + place
	}
	return a.indexRow(w.index, key, place)
}

// startKey checks an ExclusiveStartKey and returns it in canonical form.
func (w *walk) startKey(a *access, key attr.Item) (attr.Item, error) {
	key, err := attr.CheckItem(key)
	if err != nil {
		return nil, err
	}
	names := w.keyNames(a)
	bad := invalid("The provided starting key is invalid")
	if w.index == nil {
		bad = invalid("The provided starting key is invalid: The provided key element does not match the schema")
	}
	if len(key) != len(names) {
		return nil, bad
	}
	for _, n := range names {
		v, ok := key[n]
		if !ok || attr.Type(v) != a.Attributes[n] || attr.Size(v) == 0 {
			return nil, bad
		}
	}
	return key, nil
}

// keyNames are the attributes of a LastEvaluatedKey.
func (w *walk) keyNames(a *access) []string {
	names := a.Schema.names()
	if w.index == nil {
		return names
	}
	for _, n := range w.index.Schema.names() {
		if n != a.Schema.Hash && n != a.Schema.Range {
			names = append(names, n)
		}
	}
	return names
}

// startAfter has the walk begin after the given key, which must be one that it
// can have ended at.
func (w *walk) startAfter(a *access, key attr.Item, tests []expr.KeyTest) error {
	key, err := w.startKey(a, key)
	if err != nil {
		return err
	}
	row := w.row(a, key)
	if row < w.from || w.to != "" && row >= w.to {
		if len(tests) == 2 {
			return invalid("The provided starting key does not match the range key predicate")
		}
		return invalid("The provided starting key is outside query boundaries based on provided conditions")
	}
	w.after(row)
	return nil
}

// after leaves out all rows up to the given one.
func (w *walk) after(row string) {
	if w.down {
		w.to = row
	} else {
		w.from = row + "\x00"
	}
}

// items yields the items of the walk, each with its row key. Those of an index
// come as the index holds them.
func (w *walk) items(tx *store.Tx, a *access) iter.Seq2[entry, error] {
	rows := itemRows
	if w.index != nil {
		rows = indexRows
	}
	seq := rows.Range(tx, w.from, w.to)
	if w.down {
		seq = rows.RangeDown(tx, w.from, w.to)
	}
	return func(yield func(entry, error) bool) {
		for r, err := range seq {
			e := entry{row: r.Key}
			switch {
			case err != nil:
			case w.index == nil:
				e.item, err = a.item(r.Key, r.Value)
			default:
				e.item, err = a.get(tx, string(r.Value))
			}
			if err == nil && e.item == nil {
				continue // cannot be: both are of one transaction
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// ask walks until the limit or the end.
func (s *Service) ask(a *access, q question) (answer, error) {
	r := answer{}
	if q.selects != types.SelectCount {
		r.items = []map[string]types.AttributeValue{}
	}
	if q.projection != nil {
		if err := a.checkProjection(q.index, q.projection.Paths()); err != nil {
			return r, err
		}
	}
	size, fetched := 0, 0
	err := s.DB.View(func(tx *store.Tx) error {
		for e, err := range q.items(tx, a) {
			if err != nil {
				return err
			}
			held := e.item
			if q.index != nil {
				held = a.projected(q.index, e.item)
			}
			n := attr.ItemSize(held)
			size += n
			r.scanned++
			seen := held
			// A local index fetches from the table what it does not hold.
			if q.index != nil && q.index.Local && q.wantsMore(len(held), e.item) {
				seen = e.item
				fetched += attr.ItemSize(e.item)
			}
			if q.filter.Holds(seen) {
				r.count++
				if r.items != nil {
					r.items = append(r.items, q.shown(seen))
				}
			}
			if size >= maxRead || q.limit > 0 && int(r.scanned) >= q.limit {
				r.last = pick(e.item, q.keyNames(a))
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	m := a.meters(q.capacity)
	m.read(q.index, size, q.consistent)
	if fetched > 0 {
		m.read(nil, fetched, q.consistent)
	}
	r.capacity = m.total()
	return r, nil
}

// wantsMore tells whether a question to a local index needs more of an item
// than the index holds.
func (q *question) wantsMore(held int, item attr.Item) bool {
	return held < len(item) && (q.selects == types.SelectAllAttributes || q.selects == types.SelectSpecificAttributes)
}

func (q *question) shown(item attr.Item) attr.Item {
	if q.projection != nil {
		return q.projection.Apply(item)
	}
	return item
}
