package dynamodb

import (
	"context"
	"encoding/hex"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// tableRows holds every table under region/name.
const tableRows = store.Table[tableRow]("dynamodb.tables")

// A tableRow is a table at rest.
type tableRow struct {
	ID      string    `json:"id"` // a UUID: a table made again under the name is another
	Name    string    `json:"name"`
	Region  string    `json:"region"`
	Created time.Time `json:"created"`
	// Version counts changes of the row, so that a request that began before
	// a change notices it; see [Service.state].
	Version uint64 `json:"version"`
	// Ready is when the last change is in effect; until then the table is
	// UPDATING or, where it is new, CREATING.
	Ready    time.Time `json:"ready,omitzero"`
	Updating bool      `json:"updating,omitempty"`

	Schema     schema            `json:"schema"`
	Attributes map[string]string `json:"attributes"` // key attributes of table and indexes: name -> S, N, B
	Indexes    []index           `json:"indexes,omitempty"`
	NextIndex  byte              `json:"next_index,omitempty"`

	Billing       types.BillingMode         `json:"billing"`
	OnDemandSince time.Time                 `json:"on_demand_since,omitzero"`
	Throughput    throughput                `json:"throughput,omitzero"`
	OnDemand      *types.OnDemandThroughput `json:"on_demand,omitempty"`
	Warm          *types.WarmThroughput     `json:"warm,omitempty"`
	Class         types.TableClass          `json:"class,omitempty"`
	ClassChanged  time.Time                 `json:"class_changed,omitzero"`
	Protected     bool                      `json:"protected,omitempty"`
	Tags          map[string]string         `json:"tags,omitempty"`

	Stream      *streamRef `json:"stream,omitempty"`       // while records are written
	LatestLabel string     `json:"latest_label,omitempty"` // of the last stream, ended or not

	Encryption encryption `json:"encryption"`
	TTL        ttl        `json:"ttl,omitzero"`
	PITR       pitr       `json:"pitr,omitzero"`
}

// A schema names the attributes of a primary key; Range may be empty.
type schema struct {
	Hash  string `json:"hash"`
	Range string `json:"range,omitempty"`
}

func (s schema) names() []string {
	if s.Range == "" {
		return []string{s.Hash}
	}
	return []string{s.Hash, s.Range}
}

// An index is a local or global secondary index.
type index struct {
	Name        string                    `json:"name"`
	No          byte                      `json:"no"` // in row keys; never used again in this table
	Local       bool                      `json:"local,omitempty"`
	Schema      schema                    `json:"schema"`
	Projection  types.ProjectionType      `json:"projection"`
	NonKey      []string                  `json:"non_key,omitempty"`
	Throughput  throughput                `json:"throughput,omitzero"`
	OnDemand    *types.OnDemandThroughput `json:"on_demand,omitempty"`
	Backfilling bool                      `json:"backfilling,omitempty"`
}

type throughput struct {
	Read, Write    int64
	Raised, Cut    time.Time `json:",omitzero"`
	DecreasesToday int64     `json:",omitempty"`
}

type ttl struct {
	Attribute string `json:"attribute,omitempty"`
	Enabled   bool   `json:"enabled,omitempty"`
}

type pitr struct {
	Since time.Time `json:"since,omitzero"` // zero: off
	Days  int32     `json:"days,omitempty"`
}

// A table is a row with what is derived from it. It is never changed.
type table struct {
	tableRow
	key    string // region/name
	arn    string
	prefix string                 // of the keys of its rows: the 16 bytes of its ID
	pepper atomic.Pointer[[]byte] // once it has been opened
}

func tableKey(region, name string) string { return region + "/" + name }

func (s *Service) tableARN(region, name string) string {
	return "arn:aws:dynamodb:" + region + ":" + s.Account + ":table/" + name
}

func (s *Service) derive(r tableRow) *table {
	id, _ := hex.DecodeString(strings.ReplaceAll(r.ID, "-", "")) // a UUID of our own
	return &table{tableRow: r, key: tableKey(r.Region, r.Name), arn: s.tableARN(r.Region, r.Name), prefix: string(id)}
}

func (t *table) index(name string) *index {
	for i := range t.Indexes {
		if t.Indexes[i].Name == name {
			return &t.Indexes[i]
		}
	}
	return nil
}

// nameOf is the table's name in a parameter that takes a name or an ARN.
func (s *Service) nameOf(region string, given *string) string {
	name := deref(given)
	if rest, ok := strings.CutPrefix(name, s.tableARN(region, "")); ok {
		return rest
	}
	return name
}

// lookup finds a table; nil if there is none.
func (s *Service) lookup(region, name string) (*table, error) {
	key := tableKey(region, name)
	return s.tables.Get(key, func() (t *table, found bool, err error) {
		err = s.DB.View(func(tx *store.Tx) error {
			r, ok, err := tableRows.Get(tx, key)
			if ok {
				t, found = s.derive(r), true
			}
			return err
		})
		return t, found, err
	})
}

// table finds the table that a request of the data plane names.
func (s *Service) table(ctx context.Context, given *string) (*table, error) {
	region := wire.CallOf(ctx).Region
	t, err := s.lookup(region, s.nameOf(region, given))
	if err == nil && (t == nil || t.status() == types.TableStatusCreating) {
		err = notFound()
	}
	return t, err
}

// described finds the table that a request of the control plane names.
func (s *Service) described(ctx context.Context, given *string) (*table, error) {
	region := wire.CallOf(ctx).Region
	name := s.nameOf(region, given)
	t, err := s.lookup(region, name)
	if err == nil && t == nil {
		err = noTable(name)
	}
	return t, err
}

// change changes a table's row. The change must not fail halfway: f works on a
// copy that is dropped with an error.
func (s *Service) change(ctx context.Context, t *table, f func(tx *store.Tx, r *tableRow, st *state) error) (changed *table, err error) {
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		r, ok, err := tableRows.Get(tx, t.key)
		if err != nil {
			return err
		}
		if !ok || r.ID != t.ID {
			return noTable(t.Name)
		}
		st, err := getState(tx, t.prefix)
		if err != nil {
			return err
		}
		if err := f(tx, &r, st); err != nil {
			return err
		}
		r.Version++
		st.version = r.Version
		if err := putState(tx, t.prefix, st); err != nil {
			return err
		}
		changed = s.derive(r)
		tx.OnCommit(s.tables.Forget)
		return tableRows.Put(tx, t.key, r)
	})
	return changed, err
}

var errKeyElement = invalid("The provided key element does not match the schema")

// checkKey validates the primary key in a request: exactly the key attributes,
// of the right types, not empty. It returns the key in canonical form.
func (t *table) checkKey(key attr.Item) (attr.Item, error) {
	key, err := attr.CheckItem(key)
	if err != nil {
		return nil, err
	}
	names := t.Schema.names()
	if len(key) != len(names) {
		return nil, errKeyElement
	}
	for i, n := range names {
		v, ok := key[n]
		if !ok || attr.Type(v) != t.Attributes[n] {
			return nil, errKeyElement
		}
		if err := checkKeyValue(n, v, i == 0); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// Largest key values in bytes.
const (
	maxHash  = 2048
	maxRange = 1024
)

func checkKeyValue(name string, v attr.Value, hash bool) error {
	size := attr.Size(v)
	switch {
	case size == 0:
		return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", kindName(v), name)
	case hash && size > maxHash:
		return invalidValue("Size of hashkey has exceeded the maximum size limit of2048 bytes")
	case !hash && size > maxRange:
		return invalidValue("Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
	}
	return nil
}

func kindName(v attr.Value) string {
	if attr.Type(v) == "B" {
		return "binary"
	}
	return "string"
}

// checkItem validates a whole item that is to be put, and returns it in
// canonical form.
func (t *table) checkItem(item attr.Item) (attr.Item, error) {
	item, err := attr.CheckItem(item)
	if err != nil {
		return nil, err
	}
	for i, n := range t.Schema.names() {
		v, ok := item[n]
		if !ok {
			return nil, invalidValue("Missing the key %s in the item", n)
		}
		if got := attr.Type(v); got != t.Attributes[n] {
			return nil, invalidValue("Type mismatch for key %s expected: %s actual: %s", n, t.Attributes[n], got)
		}
		if err := checkKeyValue(n, v, i == 0); err != nil {
			return nil, err
		}
	}
	if err := t.checkIndexKeys(item); err != nil {
		return nil, err
	}
	if attr.ItemSize(item) > attr.MaxItem {
		return nil, invalid("Item size has exceeded the maximum allowed size")
	}
	return item, nil
}

// checkIndexKeys refuses attributes that an index has as a key and that cannot be one.
func (t *table) checkIndexKeys(item attr.Item) error {
	for i := range t.Indexes {
		ix := &t.Indexes[i]
		for j, n := range ix.Schema.names() {
			v, ok := item[n]
			if !ok {
				continue
			}
			if got := attr.Type(v); got != t.Attributes[n] {
				return invalidValue("Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s", n, t.Attributes[n], got, ix.Name)
			}
			size := attr.Size(v)
			if size == 0 {
				return invalid("One or more parameter values are not valid. A value specified for a secondary index key is not supported. "+
					"The AttributeValue for a key attribute cannot contain an empty %s value. IndexName: %s, IndexKey: %s", kindName(v), ix.Name, n)
			}
			if j == 0 && size > maxHash || j == 1 && size > maxRange {
				return checkKeyValue(n, v, j == 0)
			}
		}
	}
	return nil
}

// keyOf is the primary key of an item.
func (t *table) keyOf(item attr.Item) attr.Item { return pick(item, t.Schema.names()) }

func pick(item attr.Item, names []string) attr.Item {
	out := make(attr.Item, len(names))
	for _, n := range names {
		if v, ok := item[n]; ok {
			out[n] = v
		}
	}
	return out
}

// projected is what an index holds of an item.
func (t *table) projected(ix *index, item attr.Item) attr.Item {
	if ix.Projection == types.ProjectionTypeAll {
		return item
	}
	names := append(t.Schema.names(), ix.Schema.names()...)
	if ix.Projection == types.ProjectionTypeInclude {
		names = append(names, ix.NonKey...)
	}
	return pick(item, names)
}
