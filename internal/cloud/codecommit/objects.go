package codecommit

import (
	"errors"
	"io"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"miniforge/internal/cloud/store"
)

// objectStore is the git objects of one repository, as the git library wants
// them: those at rest, and new ones that are kept in memory until saved.
type objectStore struct {
	view  func(func(*store.Tx) error) error
	id    string // of the repository
	fresh map[plumbing.Hash]plumbing.EncodedObject
}

var _ storer.EncodedObjectStorer = (*objectStore)(nil)

// objectsIn are the objects as a transaction sees them.
func objectsIn(tx *store.Tx, id string) *objectStore {
	return newObjectStore(func(fn func(*store.Tx) error) error { return fn(tx) }, id)
}

func newObjectStore(view func(func(*store.Tx) error) error, id string) *objectStore {
	return &objectStore{view: view, id: id, fresh: map[plumbing.Hash]plumbing.EncodedObject{}}
}

func (o *objectStore) NewEncodedObject() plumbing.EncodedObject { return &plumbing.MemoryObject{} }

func (o *objectStore) SetEncodedObject(obj plumbing.EncodedObject) (plumbing.Hash, error) {
	h := obj.Hash()
	o.fresh[h] = obj
	return h, nil
}

func (o *objectStore) EncodedObject(t plumbing.ObjectType, h plumbing.Hash) (plumbing.EncodedObject, error) {
	obj, ok := o.fresh[h]
	if !ok {
		var row []byte
		err := o.view(func(tx *store.Tx) (err error) {
			row, ok, err = objects.Get(tx, o.id+"/"+h.String())
			return err
		})
		if err != nil {
			return nil, err
		}
		if !ok || len(row) == 0 {
			return nil, plumbing.ErrObjectNotFound
		}
		m := &plumbing.MemoryObject{}
		m.SetType(plumbing.ObjectType(row[0]))
		if _, err := m.Write(row[1:]); err != nil {
			return nil, err
		}
		obj = m
	}
	if t != plumbing.AnyObject && obj.Type() != t {
		return nil, plumbing.ErrObjectNotFound
	}
	return obj, nil
}

func (o *objectStore) HasEncodedObject(h plumbing.Hash) error {
	_, err := o.EncodedObject(plumbing.AnyObject, h)
	return err
}

func (o *objectStore) EncodedObjectSize(h plumbing.Hash) (int64, error) {
	obj, err := o.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return 0, err
	}
	return obj.Size(), nil
}

// IterEncodedObjects and AddAlternate belong to the interface; nothing that the
// service does asks for them.
func (o *objectStore) IterEncodedObjects(plumbing.ObjectType) (storer.EncodedObjectIter, error) {
	return nil, errors.ErrUnsupported
}

func (o *objectStore) AddAlternate(string) error { return errors.ErrUnsupported }

// save writes the new objects.
func (o *objectStore) save(tx *store.Tx) error {
	for h, obj := range o.fresh {
		content, err := contentOf(obj)
		if err != nil {
			return err
		}
		if err := objects.Put(tx, o.id+"/"+h.String(), append([]byte{byte(obj.Type())}, content...)); err != nil {
			return err
		}
	}
	return nil
}

func contentOf(obj plumbing.EncodedObject) ([]byte, error) {
	r, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// blob adds a file's content.
func (o *objectStore) blob(content []byte) (plumbing.Hash, error) {
	m := &plumbing.MemoryObject{}
	m.SetType(plumbing.BlobObject)
	if _, err := m.Write(content); err != nil {
		return plumbing.ZeroHash, err
	}
	return o.SetEncodedObject(m)
}

// encode adds an object of the git library.
func (o *objectStore) encode(v interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	m := &plumbing.MemoryObject{}
	if err := v.Encode(m); err != nil {
		return plumbing.ZeroHash, err
	}
	return o.SetEncodedObject(m)
}

// A file is what a tree says of a path; a submodule is one too.
type file struct {
	Mode filemode.FileMode
	Hash plumbing.Hash
}

// files are all files of a tree, by path.
func (o *objectStore) files(tree plumbing.Hash) (map[string]file, error) {
	all := map[string]file{}
	return all, o.walk(tree, "", func(p string, e object.TreeEntry) error {
		if e.Mode != filemode.Dir {
			all[p] = file{e.Mode, e.Hash}
		}
		return nil
	})
}

func (o *objectStore) walk(tree plumbing.Hash, dir string, fn func(string, object.TreeEntry) error) error {
	t, err := object.GetTree(o, tree)
	if err != nil {
		return err
	}
	for _, e := range t.Entries {
		p := path.Join(dir, e.Name)
		if err := fn(p, e); err != nil {
			return err
		}
		if e.Mode == filemode.Dir {
			if err := o.walk(e.Hash, p, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// tree adds the trees that hold the files and returns the root.
func (o *objectStore) tree(all map[string]file) (plumbing.Hash, error) {
	var t object.Tree
	dirs := map[string]map[string]file{}
	for p, f := range all {
		if dir, rest, below := strings.Cut(p, "/"); below {
			if dirs[dir] == nil {
				dirs[dir] = map[string]file{}
			}
			dirs[dir][rest] = f
			continue
		}
		t.Entries = append(t.Entries, object.TreeEntry{Name: p, Mode: f.Mode, Hash: f.Hash})
	}
	for dir, below := range dirs {
		h, err := o.tree(below)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		t.Entries = append(t.Entries, object.TreeEntry{Name: dir, Mode: filemode.Dir, Hash: h})
	}
	sort.Sort(object.TreeEntrySorter(t.Entries))
	return o.encode(&t)
}

// rootOf is the tree of a commit.
func (o *objectStore) rootOf(commit plumbing.Hash) (plumbing.Hash, error) {
	c, err := object.GetCommit(o, commit)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return c.TreeHash, nil
}

// commitFiles are all files of a commit; of none, for the zero hash.
func (o *objectStore) commitFiles(commit plumbing.Hash) (map[string]file, error) {
	if commit.IsZero() {
		return map[string]file{}, nil
	}
	root, err := o.rootOf(commit)
	if err != nil {
		return nil, err
	}
	return o.files(root)
}

// folders are the folders that files lie in.
func folders(all map[string]file) map[string]bool {
	dirs := map[string]bool{}
	for p := range all {
		for dir := path.Dir(p); dir != "." && !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	return dirs
}

// isHash tells whether s is a full object id.
func isHash(s string) bool {
	return len(s) == 40 && !slices.ContainsFunc([]byte(s), func(c byte) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') })
}
