package iam

import (
	"context"
	"slices"
	"strconv"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxVersions = 5

func (s *Service) registerVersions(api *wire.API) {
	const versionRule = `VersionId! v[1-9][0-9]*(\.[A-Za-z0-9-]*)?`
	wire.Handle(api, s.CreatePolicyVersion, onPolicy(func(in *sdk.CreatePolicyVersionInput) *string { return in.PolicyArn }), wire.Members(policyARNRule, documentRule))
	wire.Handle(api, s.GetPolicyVersion, onPolicy(func(in *sdk.GetPolicyVersionInput) *string { return in.PolicyArn }), wire.Members(policyARNRule, versionRule))
	wire.Handle(api, s.ListPolicyVersions, onPolicy(func(in *sdk.ListPolicyVersionsInput) *string { return in.PolicyArn }), wire.Members(policyARNRule, markerRule, maxRule))
	wire.Handle(api, s.SetDefaultPolicyVersion, onPolicy(func(in *sdk.SetDefaultPolicyVersionInput) *string { return in.PolicyArn }), wire.Members(policyARNRule, versionRule))
	wire.Handle(api, s.DeletePolicyVersion, onPolicy(func(in *sdk.DeletePolicyVersionInput) *string { return in.PolicyArn }), wire.Members(policyARNRule, versionRule))
}

func (p *policyRow) version(id string) (int, error) {
	i := slices.IndexFunc(p.Versions, func(v version) bool { return v.ID == id })
	if i < 0 {
		return 0, noEntity("Policy " + p.ARN + " version " + id + " does not exist or is not attachable.")
	}
	return i, nil
}

func (p *policyRow) versionOf(v version) types.PolicyVersion {
	return types.PolicyVersion{VersionId: &v.ID, CreateDate: &v.Created, IsDefaultVersion: v.ID == p.Default}
}

// CreatePolicyVersion adds a version to a managed policy, which may become the one in force.
func (s *Service) CreatePolicyVersion(ctx context.Context, in *sdk.CreatePolicyVersionInput) (*sdk.CreatePolicyVersionOutput, error) {
	if err := checkManaged(*in.PolicyDocument); err != nil {
		return nil, err
	}
	var out types.PolicyVersion
	err := s.changePolicy(ctx, *in.PolicyArn, func(_ *store.Tx, p *policyRow) error {
		if len(p.Versions) >= maxVersions {
			return overLimit("A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.")
		}
		p.Last++
		v := version{"v" + strconv.Itoa(p.Last), *in.PolicyDocument, now()}
		p.Versions = append(p.Versions, v)
		if in.SetAsDefault {
			p.Default = v.ID
		}
		out = p.versionOf(v)
		return nil
	})
	return &sdk.CreatePolicyVersionOutput{PolicyVersion: &out}, err
}

// GetPolicyVersion returns a version with its document.
func (s *Service) GetPolicyVersion(_ context.Context, in *sdk.GetPolicyVersionInput) (*sdk.GetPolicyVersionOutput, error) {
	p, _, err := s.view(*in.PolicyArn)
	if err != nil {
		return nil, err
	}
	i, err := p.version(*in.VersionId)
	if err != nil {
		return nil, err
	}
	v := p.versionOf(p.Versions[i])
	v.Document = encoded(p.Versions[i].Document)
	return &sdk.GetPolicyVersionOutput{PolicyVersion: &v}, nil
}

// ListPolicyVersions lists the versions of a managed policy, the newest first.
func (s *Service) ListPolicyVersions(_ context.Context, in *sdk.ListPolicyVersionsInput) (*sdk.ListPolicyVersionsOutput, error) {
	p, _, err := s.view(*in.PolicyArn)
	if err != nil {
		return nil, err
	}
	var all []types.PolicyVersion
	for _, v := range slices.Backward(p.Versions) {
		all = append(all, p.versionOf(v))
	}
	// There are at most five: one page, unless the caller wants smaller ones.
	order := func(v types.PolicyVersion) string {
		n, _ := strconv.Atoi((*v.VersionId)[1:])
		return strconv.Itoa(1_000_000 - n) // the newest first, in text order
	}
	pg, err := paginate(all, order, in.Marker, in.MaxItems)
	return &sdk.ListPolicyVersionsOutput{Versions: pg.items, IsTruncated: pg.truncated, Marker: pg.marker}, err
}

// SetDefaultPolicyVersion puts a version in force.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, in *sdk.SetDefaultPolicyVersionInput) (*sdk.SetDefaultPolicyVersionOutput, error) {
	return &sdk.SetDefaultPolicyVersionOutput{}, s.changePolicy(ctx, *in.PolicyArn, func(_ *store.Tx, p *policyRow) error {
		_, err := p.version(*in.VersionId)
		p.Default = *in.VersionId
		return err
	})
}

// DeletePolicyVersion deletes a version that is not in force.
func (s *Service) DeletePolicyVersion(ctx context.Context, in *sdk.DeletePolicyVersionInput) (*sdk.DeletePolicyVersionOutput, error) {
	return &sdk.DeletePolicyVersionOutput{}, s.changePolicy(ctx, *in.PolicyArn, func(_ *store.Tx, p *policyRow) error {
		i, err := p.version(*in.VersionId)
		if err == nil && *in.VersionId == p.Default {
			err = conflict("Cannot delete the default version of a policy.")
		}
		if err == nil {
			p.Versions = slices.Delete(p.Versions, i, i+1)
		}
		return err
	})
}
