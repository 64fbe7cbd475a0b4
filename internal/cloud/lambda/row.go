package lambda

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/store"
)

// A functionRow is what belongs to a function as a whole.
type functionRow struct {
	Name     string            `json:"name"`
	Region   string            `json:"region"`
	Tags     map[string]string `json:"tags,omitempty"`
	Reserved *int32            `json:"reserved,omitempty"` // concurrency
}

// A versionRow is a version, or $LATEST.
type versionRow struct {
	// Config is what AWS tells of the version, but for the environment and
	// the states, which follow from the time.
	Config types.FunctionConfiguration `json:"config"`
	Code   string                      `json:"code"` // SHA-256 of the package, in hex
	Env    environment                 `json:"env"`
	// Ready is when the version can be used; Updating tells that it could
	// before, as it was before.
	Ready    time.Time `json:"ready"`
	Updating bool      `json:"updating,omitempty"`
}

// An environment is a function's variables at rest, sealed under the
// function's KMS key if it has one.
type environment struct {
	Vars    map[string]string `json:"vars,omitempty"`
	Sealed  []byte            `json:"sealed,omitempty"`
	Wrapped []byte            `json:"wrapped,omitempty"` // the data key
	Digest  string            `json:"digest,omitempty"`  // tells changes without opening
}

func digest(vars map[string]string) string {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(h, "%d %s %d %s ", len(k), k, len(vars[k]), vars[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func versionKey(n name, number int64) string { return fmt.Sprintf("%s/%010d", n.key(), number) }

// describe is the configuration as AWS tells it. The environment is set by who
// may see it.
func (v *versionRow) describe(now time.Time) types.FunctionConfiguration {
	c := v.Config
	c.State, c.LastUpdateStatus = types.StateActive, types.LastUpdateStatusSuccessful
	if now.Before(v.Ready) {
		v.pend(&c)
	}
	return c
}

// pend sets the states of a version that is being made or changed.
func (v *versionRow) pend(c *types.FunctionConfiguration) {
	if v.Updating {
		c.State = types.StateActive
		c.LastUpdateStatus = types.LastUpdateStatusInProgress
		c.LastUpdateStatusReason, c.LastUpdateStatusReasonCode = new("The function is being created."), types.LastUpdateStatusReasonCode("Creating")
		return
	}
	c.State, c.StateReason, c.StateReasonCode = types.StatePending, new("The function is being created."), types.StateReasonCodeCreating
	c.LastUpdateStatus = ""
}

// same tells whether two versions have the same code and configuration, so
// that publishing one after the other makes no new version.
func (v *versionRow) same(w *versionRow) bool {
	return v.Code == w.Code && v.Env.Digest == w.Env.Digest && slices.Equal(v.essence(), w.essence())
}

// essence is the part of the configuration that makes a version what it is.
func (v *versionRow) essence() []byte {
	c := v.Config
	c.FunctionArn, c.Version, c.RevisionId, c.LastModified, c.MasterArn, c.Description, c.ConfigSha256 = nil, nil, nil, nil, nil, nil, nil
	b, _ := json.Marshal(c) // plain data
	return b
}

// An aliasRow is an alias.
type aliasRow struct {
	Name        string             `json:"name"`
	Version     string             `json:"version"`
	Description string             `json:"description"`
	Weights     map[string]float64 `json:"weights,omitempty"`
	Revision    string             `json:"revision"`
}

func (a *aliasRow) describe(n name) types.AliasConfiguration {
	c := types.AliasConfiguration{
		AliasArn: new(n.qualified(a.Name)), Name: &a.Name, FunctionVersion: &a.Version, Description: &a.Description, RevisionId: &a.Revision,
	}
	if len(a.Weights) > 0 {
		c.RoutingConfig = &types.AliasRoutingConfiguration{AdditionalVersionWeights: a.Weights}
	}
	return c
}

// numberOf is the number of a version by its name; $LATEST is 0.
func numberOf(version string) int64 {
	var n int64
	for _, d := range version {
		if d < '0' || d > '9' {
			return 0
		}
		if n = n*10 + int64(d-'0'); n > 9_999_999_999 {
			return -1
		}
	}
	return n
}

func isNumber(s string) bool {
	for _, d := range s {
		if d < '0' || d > '9' {
			return false
		}
	}
	return s != ""
}

// stamp is a time as Lambda writes it.
func stamp(t time.Time) *string { return aws.String(t.UTC().Format("2006-01-02T15:04:05.000+0000")) }

// as copies what two types of the SDK have in common: it has one for each
// operation's answer, of the same members.
func as[Out, In any](in In) *Out {
	out := new(Out)
	from, to := reflect.ValueOf(in), reflect.ValueOf(out).Elem()
	for i := range from.NumField() {
		f := from.Type().Field(i)
		if dst := to.FieldByName(f.Name); f.IsExported() && f.Name != "ResultMetadata" && dst.IsValid() && dst.Type() == f.Type {
			dst.Set(from.Field(i))
		}
	}
	return out
}

// findVersion reads a version by its name; "" and $LATEST are the same.
func findVersion(tx *store.Tx, n name, version string) (v versionRow, ok bool, err error) {
	if version == "" {
		version = latest
	}
	return versions.Get(tx, versionKey(n, numberOf(version)))
}

// findQualified reads what a name asks for: $LATEST, a version, or the version
// that an alias points to.
func findQualified(tx *store.Tx, n name) (versionRow, error) {
	version := n.qualifier
	if version != "" && version != latest && !isNumber(version) {
		a, ok, err := aliases.Get(tx, n.key()+"/"+version)
		if err != nil {
			return versionRow{}, err
		}
		if !ok {
			return versionRow{}, noFunction(n.full())
		}
		version = a.Version
	}
	v, ok, err := findVersion(tx, n, version)
	if err == nil && !ok {
		err = noFunction(n.full())
	}
	return v, err
}

// mustExist fails for a function that is not there.
func mustExist(tx *store.Tx, n name) (functionRow, error) {
	f, ok, err := functions.Get(tx, n.key())
	if err == nil && !ok {
		err = noFunction(n.arn())
	}
	return f, err
}
