package dynamodb

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
)

// A meter adds up the capacity that a request consumes of one table. A nil
// meter measures nothing.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
type meter struct {
	table     *table
	byIndex   bool
	factor    float64 // 2 in transactions
	both      bool    // tell read and write units apart
	write     bool
	own       float64
	secondary map[string]float64
}

// meters makes the meter that a request asks for; nil if it asks for none.
func (t *table) meters(asked types.ReturnConsumedCapacity) *meter {
	if asked != types.ReturnConsumedCapacityTotal && asked != types.ReturnConsumedCapacityIndexes {
		return nil
	}
	return &meter{table: t, byIndex: asked == types.ReturnConsumedCapacityIndexes, factor: 1}
}

// transactional makes the meter count as transactions do: twice.
func (m *meter) transactional() *meter {
	if m != nil {
		m.factor, m.both = 2, true
	}
	return m
}

func units(size, unit int) float64 { return float64(max(1, (size+unit-1)/unit)) }

const (
	writeUnit = 1 << 10
	readUnit  = 4 << 10
)

// wrote counts a write: the larger of the item before and after, and every
// index in which something changes.
func (m *meter) wrote(w *write) {
	if m == nil {
		return
	}
	m.write = true
	m.own += m.factor * units(max(sizeOf(w.old), sizeOf(w.new)), writeUnit)
	for i := range w.Indexes {
		ix := &w.Indexes[i]
		before, after := w.entries(ix, "")
		n := 0.0
		switch {
		case before.row == after.row && before.row != "":
			if !attr.EqualItems(before.item, after.item) {
				n = units(max(sizeOf(before.item), sizeOf(after.item)), writeUnit)
			}
		default:
			if before.row != "" {
				n += units(sizeOf(before.item), writeUnit)
			}
			if after.row != "" {
				n += units(sizeOf(after.item), writeUnit)
			}
		}
		m.add(ix, n*m.factor)
	}
}

func sizeOf(item attr.Item) int {
	if item == nil {
		return 0
	}
	return attr.ItemSize(item)
}

func (m *meter) add(ix *index, n float64) {
	if n == 0 {
		return
	}
	if m.secondary == nil {
		m.secondary = map[string]float64{}
	}
	m.secondary[ix.Name] += n
}

// read counts reading so many bytes from the table or, if ix is not nil, from an index.
func (m *meter) read(ix *index, size int, consistent bool) {
	if m == nil {
		return
	}
	n := m.factor * units(size, readUnit)
	if !consistent && m.factor == 1 {
		n /= 2
	}
	if ix != nil {
		m.add(ix, n)
		return
	}
	m.own += n
}

// total is the answer of the meter; nil of a nil meter.
func (m *meter) total() *types.ConsumedCapacity {
	if m == nil {
		return nil
	}
	sum := m.own
	for _, n := range m.secondary {
		sum += n
	}
	c := &types.ConsumedCapacity{TableName: &m.table.Name, CapacityUnits: &sum}
	if m.both {
		c.ReadCapacityUnits, c.WriteCapacityUnits = m.split(sum)
	}
	if !m.byIndex {
		return c
	}
	c.Table = m.capacity(m.own)
	for i := range m.table.Indexes {
		ix := &m.table.Indexes[i]
		n, used := m.secondary[ix.Name]
		if !used {
			continue
		}
		group := &c.GlobalSecondaryIndexes
		if ix.Local {
			group = &c.LocalSecondaryIndexes
		}
		if *group == nil {
			*group = map[string]types.Capacity{}
		}
		(*group)[ix.Name] = *m.capacity(n)
	}
	return c
}

func (m *meter) capacity(n float64) *types.Capacity {
	c := &types.Capacity{CapacityUnits: &n}
	if m.both {
		c.ReadCapacityUnits, c.WriteCapacityUnits = m.split(n)
	}
	return c
}

func (m *meter) split(n float64) (read, write *float64) {
	if m.write {
		return nil, &n
	}
	return &n, nil
}

// collection is what tables with local indexes tell about the item collection
// that a write belongs to. There is no limit to it here, and so no estimate
// beyond the smallest.
func (t *table) collection(asked types.ReturnItemCollectionMetrics, key attr.Item) *types.ItemCollectionMetrics {
	if asked != types.ReturnItemCollectionMetricsSize {
		return nil
	}
	for _, ix := range t.Indexes {
		if ix.Local {
			return &types.ItemCollectionMetrics{ItemCollectionKey: pick(key, []string{t.Schema.Hash}), SizeEstimateRangeGB: []float64{0, 1}}
		}
	}
	return nil
}
