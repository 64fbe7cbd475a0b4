package sfn

import (
	"context"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// maxVersions is how many versions a state machine may have.
const maxVersions = 1000

// A version is a state machine as it was when it was published.
type version struct {
	ARN         string    `json:"arn"`
	Number      int64     `json:"number"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	Definition  string    `json:"definition"`
	Role        string    `json:"role"`
	Logging     logging   `json:"logging"`
	Tracing     bool      `json:"tracing"`
	Revision    string    `json:"revision,omitempty"`
	Updated     time.Time `json:"updated"`
}

func versionKey(machine string, number int64) string {
	return fmt.Sprintf("%s\x00%010d", machine, number)
}

func (s *Service) registerVersions(api *wire.API) {
	wire.Handle(api, s.PublishStateMachineVersion, on(func(in *sdk.PublishStateMachineVersionInput) *string { return in.StateMachineArn }),
		wire.Members("StateMachineArn! 1..256", "Description 0..256"))
	wire.Handle(api, s.ListStateMachineVersions, on(func(in *sdk.ListStateMachineVersionsInput) *string { return in.StateMachineArn }),
		wire.Members("StateMachineArn! 1..256", "MaxResults 0..1000", "NextToken 1..1024"))
	wire.Handle(api, s.DeleteStateMachineVersion, on(func(in *sdk.DeleteStateMachineVersionInput) *string { return in.StateMachineVersionArn }),
		wire.Members("StateMachineVersionArn! 1..2000"))
	s.registerAliases(api)
}

// resolve finds the machine that an ARN leads to, with what its version has
// fixed; an alias picks by random (from 0 up to 1) among its versions.
func (s *Service) resolve(tx *store.Tx, a arn, random float64) (m machine, v *version, err error) {
	m, ok, err := machines.Get(tx, a.machine())
	if err != nil || !ok {
		return m, nil, first(err, noMachine(a.full))
	}
	if a.rest == "" {
		return m, nil, nil
	}
	target := a.full
	if strings.IndexFunc(a.rest, notDigit) >= 0 {
		al, ok, err := aliases.Get(tx, a.full)
		if err != nil || !ok {
			return m, nil, first(err, noMachine(a.full))
		}
		target = al.pick(random)
	}
	found, ok, err := getVersion(tx, target)
	if err != nil || !ok {
		return m, nil, first(err, noMachine(a.full))
	}
	m.Definition, m.Role, m.Logging, m.Tracing = found.Definition, found.Role, found.Logging, found.Tracing
	m.Revision, m.Updated = found.Revision, found.Updated
	return m, &found, nil
}

// getVersion reads the version of a qualified ARN.
func getVersion(tx *store.Tx, arn string) (v version, ok bool, err error) {
	at := strings.LastIndexByte(arn, ':')
	var n int64
	if _, err := fmt.Sscanf(arn[at+1:], "%d", &n); err != nil || at < 0 {
		return v, false, nil //nolint:nilerr // no number: no version
	}
	v, ok, err = versions.Get(tx, versionKey(arn[:at], n))
	return v, ok && v.ARN == arn, err
}

// publish makes a version of m, or finds that the last one is the same.
func (s *Service) publish(tx *store.Tx, m *machine, description *string) (string, error) {
	count := 0
	for r, err := range versions.Prefix(tx, m.ARN+"\x00") {
		if err != nil {
			return "", err
		}
		count++
		if v := r.Value; v.Number == m.Versions && v.Revision == m.Revision {
			return v.ARN, nil
		}
	}
	if count >= maxVersions {
		return "", &types.ServiceQuotaExceededException{Message: new(fmt.Sprintf("The number of published versions exceeds the limit of %d", maxVersions))}
	}
	m.Versions++
	v := version{
		ARN: fmt.Sprintf("%s:%d", m.ARN, m.Versions), Number: m.Versions, Created: s.now(), Definition: m.Definition, Role: m.Role,
		Logging: m.Logging, Tracing: m.Tracing, Revision: m.Revision, Updated: m.Updated,
	}
	if description != nil {
		v.Description = *description
	}
	return v.ARN, versions.Put(tx, versionKey(m.ARN, v.Number), v)
}

// PublishStateMachineVersion makes a version of the machine as it is; if
// nothing has changed since the last version, that one is the answer.
func (s *Service) PublishStateMachineVersion(ctx context.Context, in *sdk.PublishStateMachineVersionInput) (*sdk.PublishStateMachineVersionOutput, error) {
	a, err := s.parseARN(in.StateMachineArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	out := &sdk.PublishStateMachineVersionOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		m, err := s.usable(tx, a.full)
		if err != nil {
			return err
		}
		if in.RevisionId != nil && *in.RevisionId != m.Revision && (m.Revision != "" || *in.RevisionId != "INITIAL") {
			return conflict("The revision ID does not match the current revision of the state machine")
		}
		key, err := s.publish(tx, &m, in.Description)
		if err != nil {
			return err
		}
		v, _, err := getVersion(tx, key)
		out.StateMachineVersionArn, out.CreationDate = &v.ARN, &v.Created
		return first(err, machines.Put(tx, m.ARN, m))
	})
}

func conflict(text string) error { return &types.ConflictException{Message: &text} }

// ListStateMachineVersions lists the versions, newest first. That of a machine
// that does not exist is empty, as on AWS.
func (s *Service) ListStateMachineVersions(_ context.Context, in *sdk.ListStateMachineVersionsInput) (*sdk.ListStateMachineVersionsOutput, error) {
	a, err := s.parseARN(in.StateMachineArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	prefix := a.machine() + "\x00"
	from, err := decodeToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	end := store.PrefixEnd(prefix)
	if from != "" {
		end = from + "\x00"
	}
	out := &sdk.ListStateMachineVersionsOutput{StateMachineVersions: []types.StateMachineVersionListItem{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range versions.RangeDown(tx, prefix, end) {
			if err != nil {
				return err
			}
			if len(out.StateMachineVersions) == page(in.MaxResults) {
				out.NextToken = encodeToken(r.Key)
				return nil
			}
			v := r.Value
			out.StateMachineVersions = append(out.StateMachineVersions, types.StateMachineVersionListItem{StateMachineVersionArn: &v.ARN, CreationDate: &v.Created})
		}
		return nil
	})
}

// DeleteStateMachineVersion removes a version to which no alias leads. One
// that is not there is no error.
func (s *Service) DeleteStateMachineVersion(ctx context.Context, in *sdk.DeleteStateMachineVersionInput) (*sdk.DeleteStateMachineVersionOutput, error) {
	a, err := s.parseARN(in.StateMachineVersionArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	if a.rest == "" || strings.IndexFunc(a.rest, notDigit) >= 0 {
		return nil, validation("The ARN must be that of a version: " + a.full)
	}
	return &sdk.DeleteStateMachineVersionOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		for r, err := range aliases.Prefix(tx, a.machine()+":") {
			if err != nil {
				return err
			}
			if r.Value.leadsTo(a.full) {
				return conflict("Version to be deleted must not be referenced by an alias. Current list of aliases referencing this version: [" + r.Value.name() + "]")
			}
		}
		v, ok, err := getVersion(tx, a.full)
		if err != nil || !ok {
			return err
		}
		return versions.Delete(tx, versionKey(a.machine(), v.Number))
	})
}
