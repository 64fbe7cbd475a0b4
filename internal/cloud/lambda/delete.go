package lambda

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"

	"miniforge/internal/cloud/store"
)

// DeleteFunction removes a function with its versions, aliases and policies,
// or one version. Event source mappings stay, as on AWS.
func (s *Service) DeleteFunction(ctx context.Context, in *sdk.DeleteFunctionInput) (*sdk.DeleteFunctionOutput, error) {
	n, err := lookup(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	var codes []string
	err = s.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if _, err := mustExist(tx, n); err != nil {
			return err
		}
		if n.qualifier != "" {
			codes, err = s.deleteVersion(tx, n)
		} else {
			codes, err = s.deleteAll(tx, n)
		}
		s.changed(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.code.remove(codes, s.usedCode); err != nil {
		s.Log.Warn("cannot remove the code of a deleted function", "function", n.function, "error", err)
	}
	return &sdk.DeleteFunctionOutput{StatusCode: 204}, nil
}

func (s *Service) deleteAll(tx *store.Tx, n name) (codes []string, err error) {
	all, err := versionsOf(tx, n)
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		codes = append(codes, v.Code)
	}
	tx.OnCommit(func() { s.pool.retire(n.key() + "/") })
	return codes, errors.Join(functions.Delete(tx, n.key()), clearRows(tx, versions, n), clearRows(tx, aliases, n), clearRows(tx, policies, n), clearRows(tx, asyncs, n))
}

// clearRows deletes all rows of a function in one table.
func clearRows[V any](tx *store.Tx, t store.Table[V], n name) error {
	var keys []string
	for r, err := range t.Prefix(tx, n.key()+"/") {
		if err != nil {
			return err
		}
		keys = append(keys, r.Key)
	}
	for _, k := range keys {
		if err := t.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) deleteVersion(tx *store.Tx, n name) ([]string, error) {
	switch {
	case n.qualifier == latest:
		return nil, badValue("$LATEST version cannot be deleted without deleting the function.")
	case !isNumber(n.qualifier):
		return nil, badValue("Deletion of aliases is not currently supported.")
	}
	var using []string
	for r, err := range aliases.Prefix(tx, n.key()+"/") {
		if err != nil {
			return nil, err
		}
		if _, weighted := r.Value.Weights[n.qualifier]; weighted || r.Value.Version == n.qualifier {
			using = append(using, r.Value.Name)
		}
	}
	if using != nil {
		return nil, conflict(fmt.Sprintf("The version %s cannot be deleted because it is referenced by the following aliases: [%s]", n.full(), strings.Join(using, ", ")))
	}
	v, ok, err := findVersion(tx, n, n.qualifier)
	if err != nil || !ok {
		return nil, err
	}
	tx.OnCommit(func() { s.pool.retire(n.key() + "/" + n.qualifier + "/") })
	return []string{v.Code}, errors.Join(versions.Delete(tx, versionKey(n, numberOf(n.qualifier))),
		policies.Delete(tx, n.key()+"/"+n.qualifier), asyncs.Delete(tx, n.key()+"/"+n.qualifier))
}

// usedCode is the packages that any version uses.
func (s *Service) usedCode() (map[string]bool, error) {
	used := map[string]bool{}
	return used, s.DB.View(func(tx *store.Tx) error {
		for r, err := range versions.Range(tx, "", "") {
			if err != nil {
				return err
			}
			used[r.Value.Code] = true
		}
		return nil
	})
}
