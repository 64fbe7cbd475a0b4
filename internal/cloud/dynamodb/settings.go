package dynamodb

import (
	"context"
	"maps"
	"net/url"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerSettings(api *wire.API) {
	wire.Handle(api, s.DescribeTimeToLive, wire.Members(tableRule), onTable(s, func(in *sdk.DescribeTimeToLiveInput) *string { return in.TableName }))
	wire.Handle(api, s.UpdateTimeToLive, wire.Members(tableRule, "TimeToLiveSpecification!", "TimeToLiveSpecification.Enabled!", "TimeToLiveSpecification.AttributeName! 1..255"),
		onTable(s, func(in *sdk.UpdateTimeToLiveInput) *string { return in.TableName }))
	wire.Handle(api, s.DescribeContinuousBackups, wire.Members(tableRule), onTable(s, func(in *sdk.DescribeContinuousBackupsInput) *string { return in.TableName }))
	wire.Handle(api, s.UpdateContinuousBackups, wire.Members(tableRule, "PointInTimeRecoverySpecification!",
		"PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled!", "PointInTimeRecoverySpecification.RecoveryPeriodInDays 1..35"),
		onTable(s, func(in *sdk.UpdateContinuousBackupsInput) *string { return in.TableName }))
	wire.Handle(api, s.TagResource, wire.Members("ResourceArn! 1..1283", "Tags!", "Tags[].Key! 1..128", "Tags[].Value! 0..256"),
		wire.Needs(func(c *wire.Call, in *sdk.TagResourceInput) []authz.Access {
			return []authz.Access{{Action: "dynamodb:TagResource", Resource: deref(in.ResourceArn), Context: requestTags(in.Tags)}}
		}))
	wire.Handle(api, s.UntagResource, wire.Members("ResourceArn! 1..1283", "TagKeys!", "TagKeys[] 1..128"),
		wire.Needs(func(c *wire.Call, in *sdk.UntagResourceInput) []authz.Access {
			return []authz.Access{{Action: "dynamodb:UntagResource", Resource: deref(in.ResourceArn), Context: map[string][]string{"aws:TagKeys": in.TagKeys}}}
		}))
	wire.Handle(api, s.ListTagsOfResource, wire.Members("ResourceArn! 1..1283"), onARN(func(in *sdk.ListTagsOfResourceInput) *string { return in.ResourceArn }))
	wire.Handle(api, s.DescribeLimits)
	wire.Handle(api, s.DescribeEndpoints)
}

// DescribeTimeToLive tells which attribute holds the time of expiry.
func (s *Service) DescribeTimeToLive(ctx context.Context, in *sdk.DescribeTimeToLiveInput) (*sdk.DescribeTimeToLiveOutput, error) {
	t, err := s.described(ctx, in.TableName)
	if err != nil {
		return nil, err
	}
	d := &types.TimeToLiveDescription{TimeToLiveStatus: types.TimeToLiveStatusDisabled}
	if t.TTL.Enabled {
		d.TimeToLiveStatus, d.AttributeName = types.TimeToLiveStatusEnabled, &t.TTL.Attribute
	}
	return &sdk.DescribeTimeToLiveOutput{TimeToLiveDescription: d}, nil
}

// UpdateTimeToLive turns expiry of items on or off. Expired items are deleted
// within moments, not days.
func (s *Service) UpdateTimeToLive(ctx context.Context, in *sdk.UpdateTimeToLiveInput) (*sdk.UpdateTimeToLiveOutput, error) {
	t, err := s.described(ctx, in.TableName)
	if err != nil {
		return nil, err
	}
	sp := in.TimeToLiveSpecification
	_, err = s.change(ctx, t, func(tx *store.Tx, r *tableRow, st *state) error {
		if err := r.settled(); err != nil {
			return err
		}
		switch on := *sp.Enabled; {
		case on && r.TTL.Enabled && r.TTL.Attribute == *sp.AttributeName:
			return invalid("TimeToLive is already enabled")
		case r.TTL.Enabled && r.TTL.Attribute != *sp.AttributeName:
			return invalid("TimeToLive is active on a different AttributeName: current AttributeName is %s", r.TTL.Attribute)
		case !on && !r.TTL.Enabled:
			return invalid("TimeToLive is already disabled")
		}
		r.TTL = ttl{Attribute: *sp.AttributeName, Enabled: *sp.Enabled}
		st.ttlDue = 0
		if err := s.Tasks.Finish(tx, taskTTL, r.ID); err != nil {
			return err
		}
		return s.send(tx, event.Task{Kind: taskBackfill, ID: "ttl/" + r.ID}, job{Table: t.key, ID: r.ID})
	})
	return &sdk.UpdateTimeToLiveOutput{TimeToLiveSpecification: sp}, err
}

// DescribeContinuousBackups tells whether the table has point-in-time recovery.
func (s *Service) DescribeContinuousBackups(ctx context.Context, in *sdk.DescribeContinuousBackupsInput) (*sdk.DescribeContinuousBackupsOutput, error) {
	t, err := s.backedUp(ctx, in.TableName)
	if err != nil {
		return nil, err
	}
	return &sdk.DescribeContinuousBackupsOutput{ContinuousBackupsDescription: t.PITR.description(t.Created)}, nil
}

func (s *Service) backedUp(ctx context.Context, given *string) (*table, error) {
	region := wire.CallOf(ctx).Region
	name := s.nameOf(region, given)
	t, err := s.lookup(region, name)
	if err == nil && t == nil {
		err = &types.TableNotFoundException{Message: new("Table not found: " + name)}
	}
	return t, err
}

// defaultPeriod is how far back a table can be restored, in days.
const defaultPeriod = 35

func (p pitr) description(created time.Time) *types.ContinuousBackupsDescription {
	d := &types.PointInTimeRecoveryDescription{PointInTimeRecoveryStatus: types.PointInTimeRecoveryStatusDisabled}
	if !p.Since.IsZero() {
		d.PointInTimeRecoveryStatus = types.PointInTimeRecoveryStatusEnabled
		d.RecoveryPeriodInDays = &p.Days
		now := time.Now()
		earliest, latest := p.Since, now.Add(-5*time.Minute) // AWS keeps that distance
		if oldest := now.AddDate(0, 0, -int(p.Days)); oldest.After(earliest) {
			earliest = oldest
		}
		if latest.Before(earliest) {
			latest = earliest
		}
		d.EarliestRestorableDateTime, d.LatestRestorableDateTime = &earliest, &latest
	}
	return &types.ContinuousBackupsDescription{ContinuousBackupsStatus: types.ContinuousBackupsStatusEnabled, PointInTimeRecoveryDescription: d}
}

// UpdateContinuousBackups turns point-in-time recovery on or off. It is a
// setting only: restoring is not offered.
func (s *Service) UpdateContinuousBackups(ctx context.Context, in *sdk.UpdateContinuousBackupsInput) (*sdk.UpdateContinuousBackupsOutput, error) {
	t, err := s.backedUp(ctx, in.TableName)
	if err != nil {
		return nil, err
	}
	sp := in.PointInTimeRecoverySpecification
	if !*sp.PointInTimeRecoveryEnabled && sp.RecoveryPeriodInDays != nil {
		return nil, invalid("RecoveryPeriodInDays can only be specified when PointInTimeRecoveryEnabled is true")
	}
	t, err = s.change(ctx, t, func(_ *store.Tx, r *tableRow, _ *state) error {
		if r.settled() != nil {
			return &types.ContinuousBackupsUnavailableException{Message: new("Backups are being enabled for the table: " + r.Name + ". Please retry later")}
		}
		if !*sp.PointInTimeRecoveryEnabled {
			r.PITR = pitr{}
			return nil
		}
		if r.PITR.Since.IsZero() {
			r.PITR = pitr{Since: time.Now(), Days: defaultPeriod}
		}
		if sp.RecoveryPeriodInDays != nil {
			r.PITR.Days = *sp.RecoveryPeriodInDays
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &sdk.UpdateContinuousBackupsOutput{ContinuousBackupsDescription: t.PITR.description(t.Created)}, nil
}

// DescribeLimits tells the account's quotas.
func (s *Service) DescribeLimits(context.Context, *sdk.DescribeLimitsInput) (*sdk.DescribeLimitsOutput, error) {
	return &sdk.DescribeLimitsOutput{
		AccountMaxReadCapacityUnits: new(int64(80000)), AccountMaxWriteCapacityUnits: new(int64(80000)),
		TableMaxReadCapacityUnits: new(int64(40000)), TableMaxWriteCapacityUnits: new(int64(40000)),
	}, nil
}

// DescribeEndpoints tells a client to go on using the address that it has.
func (s *Service) DescribeEndpoints(ctx context.Context, _ *sdk.DescribeEndpointsInput) (*sdk.DescribeEndpointsOutput, error) {
	c := wire.CallOf(ctx)
	host := "dynamodb." + c.Region + ".amazonaws.com"
	if u, err := url.Parse(c.Endpoint); err == nil && u.Host != "" {
		host = u.Host
	}
	return &sdk.DescribeEndpointsOutput{Endpoints: []types.Endpoint{{Address: &host, CachePeriodInMinutes: 1440}}}, nil
}

const maxTags = 50

// withTags adds tags to those there are.
func withTags(have map[string]string, add []types.Tag) (map[string]string, error) {
	out := make(map[string]string, len(have)+len(add))
	maps.Copy(out, have)
	seen := map[string]bool{}
	for _, t := range add {
		k := *t.Key
		switch {
		case seen[k]:
			return nil, invalid("One or more parameter values are not valid. Duplicate tag keys: %s", k)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return nil, invalid("One or more parameter values are not valid. Tag keys that begin with aws: are reserved: %s", k)
		}
		seen[k] = true
		out[k] = *t.Value
	}
	if len(out) > maxTags {
		return nil, &types.LimitExceededException{Message: new("Subscriber limit exceeded: the number of tags on a resource cannot exceed 50")}
	}
	return out, nil
}

// tagged finds the table that tags are about.
func (s *Service) tagged(region, arn string) (*table, error) {
	name := s.tableOfARN(region, arn)
	if name == "" || s.tableARN(region, name) != arn {
		return nil, invalid("Invalid TableArn: Invalid ResourceArn provided as input %s", arn)
	}
	t, err := s.lookup(region, name)
	if err == nil && t == nil {
		err = &types.ResourceNotFoundException{Message: new("Requested resource not found: ResourcArn: " + arn + " not found")} // AWS's spelling
	}
	return t, err
}

// TagResource adds or changes tags of a table.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	if len(in.Tags) == 0 {
		return nil, invalid("Atleast one Tag needs to be provided as Input.")
	}
	return &sdk.TagResourceOutput{}, s.setTags(ctx, wire.CallOf(ctx).Region, *in.ResourceArn, in.Tags, nil)
}

// UntagResource takes tags from a table.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	if len(in.TagKeys) == 0 {
		return nil, invalid("Atleast one Tag Key needs to be provided as Input.")
	}
	return &sdk.UntagResourceOutput{}, s.setTags(ctx, wire.CallOf(ctx).Region, *in.ResourceArn, nil, in.TagKeys)
}

func (s *Service) setTags(ctx context.Context, region, arn string, add []types.Tag, remove []string) error {
	t, err := s.tagged(region, arn)
	if err != nil {
		return err
	}
	_, err = s.change(ctx, t, func(_ *store.Tx, r *tableRow, _ *state) (err error) {
		if r.Tags, err = withTags(r.Tags, add); err != nil {
			return err
		}
		for _, k := range remove {
			delete(r.Tags, k)
		}
		return nil
	})
	return err
}

// ListTagsOfResource lists the tags of a table: all of them, at most 50, at once.
func (s *Service) ListTagsOfResource(ctx context.Context, in *sdk.ListTagsOfResourceInput) (*sdk.ListTagsOfResourceOutput, error) {
	if in.NextToken != nil {
		return nil, invalid("Invalid NextToken: %s", *in.NextToken) // none is ever given out
	}
	t, err := s.tagged(wire.CallOf(ctx).Region, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListTagsOfResourceOutput{Tags: []types.Tag{}}
	for _, k := range namesOf(t.Tags) {
		out.Tags = append(out.Tags, types.Tag{Key: &k, Value: new(t.Tags[k])})
	}
	return out, nil
}

// Tagged lists the tables of a region with their tags, by ARN.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range tableRows.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			if len(r.Value.Tags) > 0 {
				out[s.tableARN(region, r.Value.Name)] = r.Value.Tags
			}
		}
		return nil
	})
}

// SetTags changes the tags of a table by its ARN.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	var add []types.Tag
	for _, k := range namesOf(set) {
		add = append(add, types.Tag{Key: &k, Value: new(set[k])})
	}
	region := ""
	if p := strings.SplitN(arn, ":", 6); len(p) == 6 {
		region = p[3]
	}
	return s.setTags(ctx, region, arn, add, remove)
}
