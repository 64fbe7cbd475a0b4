package logs

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A groupRow is a log group at rest.
type groupRow struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Region    string            `json:"region"`
	Created   int64             `json:"created"` // epoch milliseconds
	Class     string            `json:"class"`
	Retention int32             `json:"retention,omitempty"` // days; 0: for ever
	Protected bool              `json:"protected,omitempty"` // against deletion
	Tags      map[string]string `json:"tags,omitempty"`
	// Keys are all data keys under which events of the group were sealed; an
	// event names its key by number, from 1. Current is that for new ones; 0: none.
	Keys    []dataKey `json:"keys,omitempty"`
	Current int       `json:"current,omitempty"`
}

type dataKey struct {
	KMS     string `json:"kms"` // the KMS key, as it was given
	Wrapped []byte `json:"wrapped"`
}

func (g *groupRow) keyID() *string {
	if g.Current == 0 {
		return nil
	}
	return &g.Keys[g.Current-1].KMS
}

func (s *Service) groupARN(region, name string) string {
	return "arn:aws:logs:" + region + ":" + s.Account + ":log-group:" + name
}

func (s *Service) registerGroups(api *wire.API) {
	wire.Handle(api, s.CreateLogGroup, wire.Members("LogGroupName!"+groupRule, "KmsKeyId 0..256", "Tags 1..50", "LogGroupClass STANDARD|INFREQUENT_ACCESS|DELIVERY"),
		onGroup(func(in *sdk.CreateLogGroupInput) (g, st *string) { return in.LogGroupName, nil }))
	wire.Handle(api, s.DeleteLogGroup, wire.Members("LogGroupName!"+groupRule),
		onGroup(func(in *sdk.DeleteLogGroupInput) (g, st *string) { return in.LogGroupName, nil }))
	wire.Handle(api, s.DescribeLogGroups, wire.Members("LogGroupNamePrefix"+groupRule, "LogGroupNamePattern 0..512 [\\.\\-_/#A-Za-z0-9]*", "NextToken 1..", "Limit 1..50",
		"LogGroupClass STANDARD|INFREQUENT_ACCESS|DELIVERY", "LogGroupIdentifiers 1..50"),
		onGroup(func(in *sdk.DescribeLogGroupsInput) (g, st *string) { return nil, nil }))
	wire.Handle(api, s.PutRetentionPolicy, wire.Members("LogGroupName!"+groupRule, "RetentionInDays!"),
		onGroup(func(in *sdk.PutRetentionPolicyInput) (g, st *string) { return in.LogGroupName, nil }))
	wire.Handle(api, s.DeleteRetentionPolicy, wire.Members("LogGroupName!"+groupRule),
		onGroup(func(in *sdk.DeleteRetentionPolicyInput) (g, st *string) { return in.LogGroupName, nil }))
	wire.Handle(api, s.AssociateKmsKey, wire.Members("LogGroupName"+groupRule, "KmsKeyId! 0..256", "ResourceIdentifier 1..2048 [\\w+=/:,.@\\-\\*]*"),
		onGroup(func(in *sdk.AssociateKmsKeyInput) (g, st *string) {
			return either(in.LogGroupName, in.ResourceIdentifier), nil
		}))
	wire.Handle(api, s.DisassociateKmsKey, wire.Members("LogGroupName"+groupRule, "ResourceIdentifier 1..2048 [\\w+=/:,.@\\-\\*]*"),
		onGroup(func(in *sdk.DisassociateKmsKeyInput) (g, st *string) {
			return either(in.LogGroupName, in.ResourceIdentifier), nil
		}))
	wire.Handle(api, s.PutLogGroupDeletionProtection, wire.Members("LogGroupIdentifier! 1..2048 [\\w#+=/:,.@-]*", "DeletionProtectionEnabled!"),
		onGroup(func(in *sdk.PutLogGroupDeletionProtectionInput) (g, st *string) { return in.LogGroupIdentifier, nil }))
}

// CreateLogGroup makes a group; its KMS key, if one is named, must be usable
// by the service.
func (s *Service) CreateLogGroup(ctx context.Context, in *sdk.CreateLogGroupInput) (*sdk.CreateLogGroupOutput, error) {
	c := wire.CallOf(ctx)
	g := groupRow{
		ID: uuid.NewString(), Name: *in.LogGroupName, Region: c.Region, Created: time.Now().UnixMilli(),
		Class: string(in.LogGroupClass), Protected: aws.ToBool(in.DeletionProtectionEnabled), Tags: in.Tags,
	}
	if g.Class == "" {
		g.Class = string(types.LogGroupClassStandard)
	}
	if err := checkTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if in.KmsKeyId != nil {
		k, err := s.newKey(ctx, c.Region, g.Name, *in.KmsKeyId)
		if err != nil {
			return nil, err
		}
		g.Keys, g.Current = []dataKey{k}, 1
	}
	return &sdk.CreateLogGroupOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		key := c.Region + "/" + g.Name
		if _, taken, err := groups.Get(tx, key); err != nil || taken {
			if taken {
				err = &types.ResourceAlreadyExistsException{Message: new("The specified log group already exists")}
			}
			return err
		}
		return groups.Put(tx, key, g)
	})
}

// newKey has KMS make a data key for a group.
func (s *Service) newKey(ctx context.Context, region, group, kmsKey string) (dataKey, error) {
	arn := s.groupARN(region, group)
	k, err := envelope.NewKey(ctx, s.Caller, s.keyUser(region, arn), kmsKey, sealContext(arn))
	if err != nil {
		return dataKey{}, keyError(err, arn)
	}
	return dataKey{KMS: kmsKey, Wrapped: k.Wrapped}, nil
}

// DeleteLogGroup removes a group at once, and its events in the background.
func (s *Service) DeleteLogGroup(ctx context.Context, in *sdk.DeleteLogGroupInput) (*sdk.DeleteLogGroupOutput, error) {
	key := wire.CallOf(ctx).Region + "/" + *in.LogGroupName
	return &sdk.DeleteLogGroupOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		g, ok, err := groups.Get(tx, key)
		switch {
		case err != nil:
			return err
		case !ok:
			return noGroup()
		case g.Protected:
			return &types.ValidationException{Message: new("The log group cannot be deleted because deletion protection is enabled.")}
		}
		var gone []string
		var names []string
		for r, err := range streams.Prefix(tx, g.ID+"/") {
			if err != nil {
				return err
			}
			names, gone = append(names, r.Key), append(gone, r.Value.ID)
		}
		for _, n := range names {
			if err := streams.Delete(tx, n); err != nil {
				return err
			}
		}
		if err := s.dropEvents(tx, gone); err != nil {
			return err
		}
		return groups.Delete(tx, key)
	})
}

// DescribeLogGroups lists groups by name.
func (s *Service) DescribeLogGroups(ctx context.Context, in *sdk.DescribeLogGroupsInput) (*sdk.DescribeLogGroupsOutput, error) {
	c := wire.CallOf(ctx)
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return nil, invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	after, err := openToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	wanted := func(g *groupRow) bool {
		return strings.HasPrefix(g.Name, aws.ToString(in.LogGroupNamePrefix)) && strings.Contains(g.Name, aws.ToString(in.LogGroupNamePattern)) &&
			(in.LogGroupClass == "" || string(in.LogGroupClass) == g.Class) &&
			(in.LogGroupIdentifiers == nil || slices.ContainsFunc(in.LogGroupIdentifiers, func(id string) bool { return plainName(id) == g.Name }))
	}
	limit := int(aws.ToInt32(in.Limit))
	if limit == 0 {
		limit = 50
	}
	out := &sdk.DescribeLogGroupsOutput{LogGroups: []types.LogGroup{}}
	from := c.Region + "/" + max(after, aws.ToString(in.LogGroupNamePrefix))
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range groups.Range(tx, from, store.PrefixEnd(c.Region+"/"+aws.ToString(in.LogGroupNamePrefix))) {
			switch {
			case err != nil:
				return err
			case r.Value.Name == after && after != "" || !wanted(&r.Value):
				continue
			case len(out.LogGroups) == limit:
				out.NextToken = sealToken(*out.LogGroups[limit-1].LogGroupName)
				return nil
			}
			d, err := s.describe(tx, &r.Value)
			if err != nil {
				return err
			}
			out.LogGroups = append(out.LogGroups, d)
		}
		return nil
	})
}

func (s *Service) describe(tx *store.Tx, g *groupRow) (types.LogGroup, error) {
	arn := s.groupARN(g.Region, g.Name)
	d := types.LogGroup{
		LogGroupName: &g.Name, CreationTime: &g.Created, Arn: new(arn + ":*"), LogGroupArn: &arn, MetricFilterCount: new(int32(0)),
		KmsKeyId: g.keyID(), LogGroupClass: types.LogGroupClass(g.Class), DeletionProtectionEnabled: &g.Protected,
	}
	if g.Retention > 0 {
		d.RetentionInDays = &g.Retention
	}
	var bytes int64
	for r, err := range streams.Prefix(tx, g.ID+"/") {
		if err != nil {
			return d, err
		}
		bytes += r.Value.Bytes
	}
	d.StoredBytes = &bytes
	return d, nil
}

// retentions are the periods in days that the service knows.
var retentions = []int32{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// PutRetentionPolicy has events expire after a number of days.
func (s *Service) PutRetentionPolicy(ctx context.Context, in *sdk.PutRetentionPolicyInput) (*sdk.PutRetentionPolicyOutput, error) {
	days := *in.RetentionInDays
	if !slices.Contains(retentions, days) {
		names := make([]string, len(retentions))
		for i, r := range retentions {
			names[i] = strconv.Itoa(int(r))
		}
		return nil, invalid(wire.ProblemText([]wire.Problem{{Path: "retentionInDays", Value: strconv.Itoa(int(days)), Text: "Member must satisfy enum value set: [" + strings.Join(names, ", ") + "]"}}))
	}
	return &sdk.PutRetentionPolicyOutput{}, s.retain(ctx, *in.LogGroupName, days)
}

// DeleteRetentionPolicy has events kept for ever.
func (s *Service) DeleteRetentionPolicy(ctx context.Context, in *sdk.DeleteRetentionPolicyInput) (*sdk.DeleteRetentionPolicyOutput, error) {
	return &sdk.DeleteRetentionPolicyOutput{}, s.retain(ctx, *in.LogGroupName, 0)
}

func (s *Service) retain(ctx context.Context, group string, days int32) error {
	return s.change(ctx, wire.CallOf(ctx).Region, group, func(tx *store.Tx, g *groupRow) error {
		g.Retention = days
		return s.expireAll(tx, g)
	})
}

// AssociateKmsKey has new events sealed under another key; old ones stay as they are.
func (s *Service) AssociateKmsKey(ctx context.Context, in *sdk.AssociateKmsKeyInput) (*sdk.AssociateKmsKeyOutput, error) {
	c := wire.CallOf(ctx)
	name, err := groupOf(in.LogGroupName, in.ResourceIdentifier)
	if err != nil {
		return nil, err
	}
	if err := s.DB.View(func(tx *store.Tx) error { _, err := findGroup(tx, c.Region, name); return err }); err != nil {
		return nil, err
	}
	k, err := s.newKey(ctx, c.Region, name, *in.KmsKeyId)
	if err != nil {
		return nil, err
	}
	return &sdk.AssociateKmsKeyOutput{}, s.change(ctx, c.Region, name, func(_ *store.Tx, g *groupRow) error {
		g.Keys = append(g.Keys, k)
		g.Current = len(g.Keys)
		return nil
	})
}

// DisassociateKmsKey has new events sealed under no key of the customer's.
func (s *Service) DisassociateKmsKey(ctx context.Context, in *sdk.DisassociateKmsKeyInput) (*sdk.DisassociateKmsKeyOutput, error) {
	name, err := groupOf(in.LogGroupName, in.ResourceIdentifier)
	if err != nil {
		return nil, err
	}
	return &sdk.DisassociateKmsKeyOutput{}, s.change(ctx, wire.CallOf(ctx).Region, name, func(_ *store.Tx, g *groupRow) error {
		g.Current = 0
		return nil
	})
}

// PutLogGroupDeletionProtection guards a group against DeleteLogGroup.
func (s *Service) PutLogGroupDeletionProtection(ctx context.Context, in *sdk.PutLogGroupDeletionProtectionInput) (*sdk.PutLogGroupDeletionProtectionOutput, error) {
	return &sdk.PutLogGroupDeletionProtectionOutput{}, s.change(ctx, wire.CallOf(ctx).Region, plainName(*in.LogGroupIdentifier), func(_ *store.Tx, g *groupRow) error {
		g.Protected = *in.DeletionProtectionEnabled
		return nil
	})
}

func findGroup(tx *store.Tx, region, name string) (groupRow, error) {
	g, ok, err := groups.Get(tx, region+"/"+name)
	if err == nil && !ok {
		err = noGroup()
	}
	return g, err
}

// known is findGroup for a group of which nothing is to be changed.
func (s *Service) known(tx *store.Tx, region, name string) (groupRow, error) {
	g, ok, err := s.groups.Get(tx, region+"/"+name)
	if err == nil && !ok {
		err = noGroup()
	}
	return g, err
}

// sealToken makes an opaque token of the place where a list goes on.
func sealToken(place string) *string {
	return new("t1" + base64.RawURLEncoding.EncodeToString([]byte(place)))
}

func openToken(token *string) (string, error) {
	if token == nil {
		return "", nil
	}
	text, ok := strings.CutPrefix(*token, "t1")
	b, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(b) == 0 {
		return "", errToken
	}
	return string(b), nil
}
