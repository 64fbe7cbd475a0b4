package logs

import (
	"bytes"

	"miniforge/internal/cloud/store"
)

// A knownGroup is a group as it was read last, for PutLogEvents, which would
// read the same row twice for every batch of events.
type knownGroup struct {
	groupRow
	row []byte // as it lies in the store
}

// groupBytes are the rows of groups, as they lie in the store.
const groupBytes = store.Table[[]byte](groups)

// known is the group of a name, read again only after a group has changed.
func (s *Service) known(region, name string) (*knownGroup, error) {
	return s.read.GetAt(s.DB.Version(string(groups)), region+"/"+name, func() (g *knownGroup, err error) {
		err = s.DB.View(func(tx *store.Tx) error {
			g, err = readGroup(tx, region, name)
			return err
		})
		return g, err
	})
}

func readGroup(tx *store.Tx, region, name string) (*knownGroup, error) {
	g, err := findGroup(tx, region, name)
	if err != nil {
		return nil, err
	}
	row, _, err := groupBytes.Get(tx, region+"/"+name)
	return &knownGroup{g, row}, err
}

// current is the group as the transaction sees it: mostly as it was.
func (g *knownGroup) current(tx *store.Tx) (*knownGroup, error) {
	row, _, err := groupBytes.Get(tx, g.Region+"/"+g.Name)
	if err != nil || bytes.Equal(row, g.row) {
		return g, err
	}
	return readGroup(tx, g.Region, g.Name)
}
