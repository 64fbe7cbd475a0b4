package dynamodb

import (
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// deletedRows holds tables that are deleted, and DELETING for a while, under
// region/name.
const deletedRows = store.Table[deletedRow]("dynamodb.deleted")

type deletedRow struct {
	Table tableRow  `json:"table"`
	Until time.Time `json:"until"`
}

// status is ACTIVE, or what a table is until a change of it is in effect.
func (r *tableRow) status() types.TableStatus {
	switch {
	case !time.Now().Before(r.Ready):
		return types.TableStatusActive
	case r.Updating:
		return types.TableStatusUpdating
	}
	return types.TableStatusCreating
}

// changing begins a change that is in effect later.
func (r *tableRow) changing(d time.Duration, updating bool) {
	if d > 0 {
		r.Ready, r.Updating = time.Now().Add(d), updating
	}
}

// settled refuses a change while another one is not yet in effect.
func (r *tableRow) settled() error {
	switch r.status() {
	case types.TableStatusCreating:
		return busy("created", r.Name)
	case types.TableStatusUpdating:
		return busy("updated", r.Name)
	}
	return nil
}

func busy(being, name string) error {
	return &types.ResourceInUseException{Message: new(fmt.Sprintf("Attempt to change a resource which is still in use: Table is being %s: %s", being, name))}
}

// bury keeps a deleted table DELETING for a while, and forgets those whose time
// is over.
func (s *Service) bury(tx *store.Tx, r tableRow) error {
	d := s.Settle.Of(latency.TableDeleted)
	if d == 0 {
		return nil
	}
	now := time.Now()
	var over []string
	for row, err := range deletedRows.Range(tx, "", "") {
		if err != nil {
			return err
		}
		if !now.Before(row.Value.Until) {
			over = append(over, row.Key)
		}
	}
	for _, key := range over {
		if err := deletedRows.Delete(tx, key); err != nil {
			return err
		}
	}
	return deletedRows.Put(tx, tableKey(r.Region, r.Name), deletedRow{r, now.Add(d)})
}

// deleting finds a table that is DELETING; nil if there is none of the name.
func (s *Service) deleting(region, name string) (t *table, err error) {
	if s.Settle == nil {
		return nil, nil
	}
	err = s.DB.View(func(tx *store.Tx) error {
		row, ok, err := deletedRows.Get(tx, tableKey(region, name))
		if ok && time.Now().Before(row.Until) {
			t = s.derive(row.Table)
		}
		return err
	})
	return t, err
}

// farewell describes a table that is DELETING to a request that failed to find
// it. Otherwise it returns the request's own error.
func (s *Service) farewell(c *wire.Call, given *string, failure error) (*types.TableDescription, error) {
	if _, missing := errors.AsType[*types.ResourceNotFoundException](failure); !missing {
		return nil, failure
	}
	t, err := s.deleting(c.Region, s.nameOf(c.Region, given))
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		return nil, failure
	}
	d := s.description(t, &state{})
	d.TableStatus = types.TableStatusDeleting
	return d, nil
}
