package iam

import (
	"context"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxTrust = 2048 // characters, white space not counted

func (s *Service) registerRoles(api *wire.API) {
	const sessionRule = "MaxSessionDuration 3600..43200"
	wire.Handle(api, s.CreateRole, making(s, func(in *sdk.CreateRoleInput) string { return "role" + path(in.Path) + *in.RoleName },
		func(in *sdk.CreateRoleInput) *string { return in.PermissionsBoundary },
		func(in *sdk.CreateRoleInput) []types.Tag { return in.Tags }),
		wire.Members(roleRule, pathRule, "AssumeRolePolicyDocument! 1..131072", textRule, sessionRule, "PermissionsBoundary 20..2048",
			"Tags 0..50", "Tags[].Key! 1..128", "Tags[].Value! 0..256"))
	wire.Handle(api, s.GetRole, on(s, roleKind, func(in *sdk.GetRoleInput) *string { return in.RoleName }), wire.Members(roleRule))
	wire.Handle(api, s.ListRoles, under(s, roleKind, func(in *sdk.ListRolesInput) *string { return in.PathPrefix }), wire.Members(prefixRule, markerRule, maxRule))
	wire.Handle(api, s.UpdateRole, on(s, roleKind, func(in *sdk.UpdateRoleInput) *string { return in.RoleName }), wire.Members(roleRule, textRule, sessionRule))
	wire.Handle(api, s.UpdateRoleDescription, on(s, roleKind, func(in *sdk.UpdateRoleDescriptionInput) *string { return in.RoleName }),
		wire.Members(roleRule, "Description! 0..1000"))
	wire.Handle(api, s.UpdateAssumeRolePolicy, on(s, roleKind, func(in *sdk.UpdateAssumeRolePolicyInput) *string { return in.RoleName }), wire.Members(roleRule, documentRule))
	wire.Handle(api, s.DeleteRole, on(s, roleKind, func(in *sdk.DeleteRoleInput) *string { return in.RoleName }), wire.Members(roleRule))
	wire.Handle(api, s.ListInstanceProfilesForRole, on(s, roleKind, func(in *sdk.ListInstanceProfilesForRoleInput) *string { return in.RoleName }),
		wire.Members(roleRule, markerRule, maxRule))
	wire.Handle(api, s.CreateServiceLinkedRole, making(s, func(in *sdk.CreateServiceLinkedRoleInput) string {
		return "role/aws-service-role/" + *in.AWSServiceName + "/" + linkedName(*in.AWSServiceName, deref(in.CustomSuffix))
	}, func(*sdk.CreateServiceLinkedRoleInput) *string { return nil }, func(*sdk.CreateServiceLinkedRoleInput) []types.Tag { return nil }),
		wire.Members("AWSServiceName! 1..128 "+namePattern, textRule, "CustomSuffix 1..64 "+namePattern))
}

// CreateRole makes a role.
func (s *Service) CreateRole(ctx context.Context, in *sdk.CreateRoleInput) (*sdk.CreateRoleOutput, error) {
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	e := entity{
		Name: *in.RoleName, Path: path(in.Path), ID: newID(roleKind.idPrefix), Created: now(), Description: deref(in.Description),
		MaxSession: 3600, Trust: *in.AssumeRolePolicyDocument, Boundary: deref(in.PermissionsBoundary), Tags: tags,
	}
	if in.MaxSessionDuration != nil {
		e.MaxSession = *in.MaxSessionDuration
	}
	trust, err := checkTrust(e.Trust)
	if err != nil {
		return nil, err
	}
	err = s.create(ctx, roleKind, e, func(tx *store.Tx) error {
		if err := s.checkPrincipals(tx, trust); err != nil {
			return err
		}
		return checkBoundary(tx, e.Boundary)
	})
	if err != nil {
		return nil, err
	}
	r := s.role(&e)
	return &sdk.CreateRoleOutput{Role: &r}, nil
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func checkTrust(document string) (*authz.Policy, error) {
	if size(document) > maxTrust {
		return nil, overLimit("Cannot exceed quota for ACLSizePerRole: 2048")
	}
	return checkDocument(document, authz.TrustPolicy)
}

// size counts the characters of a document as the quotas do: without white space.
func size(document string) int {
	return len([]rune(strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, document)))
}

// checkPrincipals refuses a trust policy that names a user or role of the
// account that does not exist; a role may name itself only once it exists.
func (s *Service) checkPrincipals(tx *store.Tx, p *authz.Policy) error {
	for _, name := range p.Principals() {
		ok, err := s.exists(tx, name)
		if err != nil {
			return err
		}
		if !ok {
			return malformed(`Invalid principal in policy: "AWS":"` + name + `"`)
		}
	}
	return nil
}

func (s *Service) role(e *entity) types.Role {
	return types.Role{
		Arn: new(s.arn(roleKind, e)), RoleName: &e.Name, RoleId: &e.ID, Path: &e.Path, CreateDate: &e.Created, Description: optional(e.Description),
		AssumeRolePolicyDocument: encoded(e.Trust), MaxSessionDuration: &e.MaxSession, PermissionsBoundary: boundaryOf(e), Tags: tagList(e.Tags),
	}
}

// GetRole describes a role.
func (s *Service) GetRole(_ context.Context, in *sdk.GetRoleInput) (*sdk.GetRoleOutput, error) {
	e, err := s.get(roleKind, *in.RoleName)
	if err != nil {
		return nil, err
	}
	r := s.role(&e)
	r.RoleLastUsed = &types.RoleLastUsed{}
	return &sdk.GetRoleOutput{Role: &r}, nil
}

// ListRoles lists roles under a path, without their tags and boundaries.
func (s *Service) ListRoles(_ context.Context, in *sdk.ListRolesInput) (*sdk.ListRolesOutput, error) {
	all, err := s.list(roleKind, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	p, err := paginate(all, func(e entity) string { return e.Name }, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListRolesOutput{Roles: []types.Role{}, IsTruncated: p.truncated, Marker: p.marker}
	for i := range p.items {
		r := s.role(&p.items[i])
		r.Tags, r.PermissionsBoundary = nil, nil
		out.Roles = append(out.Roles, r)
	}
	return out, nil
}

// UpdateRole changes a role's description and longest session.
func (s *Service) UpdateRole(ctx context.Context, in *sdk.UpdateRoleInput) (*sdk.UpdateRoleOutput, error) {
	return &sdk.UpdateRoleOutput{}, s.change(ctx, roleKind, *in.RoleName, func(_ *store.Tx, e *entity) error {
		if in.Description != nil {
			e.Description = *in.Description
		}
		if in.MaxSessionDuration != nil {
			e.MaxSession = *in.MaxSessionDuration
		}
		return e.own()
	})
}

// UpdateRoleDescription changes a role's description.
func (s *Service) UpdateRoleDescription(ctx context.Context, in *sdk.UpdateRoleDescriptionInput) (*sdk.UpdateRoleDescriptionOutput, error) {
	var r types.Role
	err := s.change(ctx, roleKind, *in.RoleName, func(_ *store.Tx, e *entity) error {
		e.Description = *in.Description
		r = s.role(e)
		return e.own()
	})
	return &sdk.UpdateRoleDescriptionOutput{Role: &r}, err
}

// UpdateAssumeRolePolicy replaces a role's trust policy.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, in *sdk.UpdateAssumeRolePolicyInput) (*sdk.UpdateAssumeRolePolicyOutput, error) {
	trust, err := checkTrust(*in.PolicyDocument)
	if err != nil {
		return nil, err
	}
	return &sdk.UpdateAssumeRolePolicyOutput{}, s.change(ctx, roleKind, *in.RoleName, func(tx *store.Tx, e *entity) error {
		if err := e.own(); err != nil {
			return err
		}
		e.Trust = *in.PolicyDocument
		return s.checkPrincipals(tx, trust)
	})
}

// DeleteRole deletes a role without policies.
func (s *Service) DeleteRole(ctx context.Context, in *sdk.DeleteRoleInput) (*sdk.DeleteRoleOutput, error) {
	return &sdk.DeleteRoleOutput{}, s.remove(ctx, roleKind, *in.RoleName, func(*store.Tx) error { return nil })
}

// ListInstanceProfilesForRole lists nothing: there is no EC2 here, whose
// profiles these are.
func (s *Service) ListInstanceProfilesForRole(_ context.Context, in *sdk.ListInstanceProfilesForRoleInput) (*sdk.ListInstanceProfilesForRoleOutput, error) {
	_, err := s.get(roleKind, *in.RoleName)
	return &sdk.ListInstanceProfilesForRoleOutput{InstanceProfiles: []types.InstanceProfile{}}, err
}

// linkedNames are the services that have a role of their own in the account.
var linkedNames = map[string]string{
	"ops.apigateway.amazonaws.com":                   "AWSServiceRoleForAPIGateway",
	"replication.dynamodb.amazonaws.com":             "AWSServiceRoleForDynamoDBReplication",
	"dynamodb.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_DynamoDBTable",
	"lambda.amazonaws.com":                           "AWSServiceRoleForLambda",
	"events.amazonaws.com":                           "AWSServiceRoleForCloudWatchEvents",
	"apidestinations.events.amazonaws.com":           "AWSServiceRoleForAmazonEventBridgeApiDestinations",
	"codestar-notifications.amazonaws.com":           "AWSServiceRoleForCodeStarNotifications",
	"autoscaling.amazonaws.com":                      "AWSServiceRoleForAutoScaling",
	"delivery.logs.amazonaws.com":                    "AWSServiceRoleForLogDelivery",
}

func linkedName(service, suffix string) string {
	n := linkedNames[service]
	if suffix != "" {
		n += "_" + suffix
	}
	return n
}

// CreateServiceLinkedRole makes the role that only its service can use.
func (s *Service) CreateServiceLinkedRole(ctx context.Context, in *sdk.CreateServiceLinkedRoleInput) (*sdk.CreateServiceLinkedRoleOutput, error) {
	service, suffix := *in.AWSServiceName, deref(in.CustomSuffix)
	switch {
	case linkedNames[service] == "":
		return nil, badInput("Service Linked Role is not supported for " + service)
	case suffix != "" && service != "autoscaling.amazonaws.com":
		return nil, badInput("Custom suffix is not allowed for " + service)
	}
	e := entity{
		Name: linkedName(service, suffix), Path: "/aws-service-role/" + service + "/", ID: newID(roleKind.idPrefix), Created: now(),
		Description: deref(in.Description), MaxSession: 3600, Service: service,
		Trust: `{"Version":"2012-10-17","Statement":[{"Action":["sts:AssumeRole"],"Effect":"Allow","Principal":{"Service":["` + service + `"]}}]}`,
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, ok, err := roles.Get(tx, e.Name); err != nil || ok {
			if ok {
				err = badInput("Service role name " + e.Name + " has been taken in this account, please try a different suffix.")
			}
			return err
		}
		tx.OnCommit(s.forget)
		return roles.Put(tx, e.Name, e)
	})
	if err != nil {
		return nil, err
	}
	r := s.role(&e)
	return &sdk.CreateServiceLinkedRoleOutput{Role: &r}, nil
}
