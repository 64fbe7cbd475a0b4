package cloud

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
)

// An Identity is what a cloud is known by. It is made at the first start and
// kept with the cloud's data.
type Identity struct {
	Account         string `json:"account"`           // 12 digits
	Region          string `json:"region"`            // the default; every region is served
	AccessKeyID     string `json:"access_key_id"`     // of the account's root user
	SecretAccessKey string `json:"secret_access_key"` // likewise
}

// String keeps the secret out of logs.
func (i Identity) String() string { return "account " + i.Account + " in " + i.Region }

const identities = store.Table[Identity]("cloud.identity")

var accountText = regexp.MustCompile(`^\d{12}$`)

// identify loads the cloud's identity; what the options name wins and is kept.
func identify(ctx context.Context, db store.DB, o Options) (id Identity, err error) {
	err = db.Update(ctx, func(tx *store.Tx) error {
		kept, _, err := identities.Get(tx, "self")
		if err != nil {
			return err
		}
		id = kept
		for _, f := range []struct {
			field  *string
			option string
			fresh  func() string
		}{
			{&id.Account, o.Account, func() string { return "000000000000" }},
			{&id.Region, o.Region, func() string { return "us-east-1" }},
			{&id.AccessKeyID, o.RootAccessKeyID, newAccessKeyID},
			{&id.SecretAccessKey, o.RootSecretAccessKey, newSecret},
		} {
			switch {
			case f.option != "":
				*f.field = f.option
			case *f.field == "":
				*f.field = f.fresh()
			}
		}
		if !accountText.MatchString(id.Account) {
			return fmt.Errorf("account %q is not 12 digits", id.Account)
		}
		if kept.Account != "" && kept.Account != id.Account {
			return fmt.Errorf("the data belongs to account %s, not %s: use that account, or reset the cloud", kept.Account, id.Account)
		}
		if id == kept {
			return nil
		}
		return identities.Put(tx, "self", id)
	})
	return id, err
}

// newAccessKeyID looks like an access key of AWS, so that tools that check the form take it.
func newAccessKeyID() string {
	b := make([]byte, 10)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return "AKIA" + base32.StdEncoding.EncodeToString(b)
}

func newSecret() string {
	b := make([]byte, 30)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

func (i Identity) root() authz.Principal {
	return authz.Principal{Type: authz.Root, ARN: "arn:aws:iam::" + i.Account + ":root", ID: i.Account, Account: i.Account}
}

const masterKeyFile = "master.key"

// masterKey loads the key that seals everything at rest, or makes it when
// there is no data yet. Data without its key is an error that says so: a new
// key could not open it.
func masterKey(dir string) ([]byte, error) {
	key := make([]byte, 32)
	if dir == "" {
		_, _ = rand.Read(key)
		return key, nil
	}
	file := filepath.Join(dir, masterKeyFile)
	got, err := os.ReadFile(file)
	switch {
	case err == nil && len(got) == len(key):
		return got, nil
	case err == nil:
		return nil, fmt.Errorf("master key %s is damaged: restore it, or reset the cloud (its data cannot be read without the key)", file)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read master key: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, dataFile)); err == nil {
		return nil, fmt.Errorf("master key %s is gone: restore it, or reset the cloud (its data cannot be read without the key)", file)
	}
	_, _ = rand.Read(key)
	if err := writeSynced(file, key); err != nil {
		return nil, fmt.Errorf("write master key: %w", err)
	}
	return key, nil
}

// writeSynced writes a file of mode 0600 so that it is there whole, or not at
// all, after a crash.
func writeSynced(file string, data []byte) (err error) {
	f, err := os.OpenFile(file+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreClosed(f.Close())) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(file+".tmp", file); err != nil {
		return err
	}
	return store.SyncDir(filepath.Dir(file))
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
