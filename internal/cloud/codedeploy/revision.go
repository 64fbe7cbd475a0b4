package codedeploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerRevisions(api *wire.API) {
	wire.Handle(api, s.RegisterApplicationRevision, onApp(func(in *sdk.RegisterApplicationRevisionInput) *string { return in.ApplicationName }))
	wire.Handle(api, s.GetApplicationRevision, onApp(func(in *sdk.GetApplicationRevisionInput) *string { return in.ApplicationName }))
	wire.Handle(api, s.ListApplicationRevisions, onApp(func(in *sdk.ListApplicationRevisionsInput) *string { return in.ApplicationName }))
	wire.Handle(api, s.BatchGetApplicationRevisions, onApp(func(in *sdk.BatchGetApplicationRevisionsInput) *string { return in.ApplicationName }))
}

// checkLocation checks where a revision is, completes it with the hash of its
// content, and makes the last part of its key: equal revisions have equal keys.
// A revision that is told by its hash only has no content yet.
func checkLocation(in *types.RevisionLocation) (loc types.RevisionLocation, id string, err error) {
	if in == nil {
		return loc, "", &types.RevisionRequiredException{Message: new("Revision must be specified.")}
	}
	loc = types.RevisionLocation{RevisionType: in.RevisionType}
	switch in.RevisionType {
	case types.RevisionLocationTypeAppSpecContent:
		if in.AppSpecContent == nil {
			return loc, "", badRevision("AppSpecContent must be specified for the revision type AppSpecContent")
		}
		text := &types.AppSpecContent{Content: in.AppSpecContent.Content}
		text.Sha256, err = checkText(in.AppSpecContent.Content, in.AppSpecContent.Sha256)
		loc.AppSpecContent, id = text, aws.ToString(text.Sha256)
	case types.RevisionLocationTypeString:
		if in.String_ == nil {
			return loc, "", badRevision("String must be specified for the revision type String")
		}
		text := &types.RawString{Content: in.String_.Content}
		text.Sha256, err = checkText(in.String_.Content, in.String_.Sha256)
		loc.String_, id = text, aws.ToString(text.Sha256)
	case types.RevisionLocationTypeS3:
		loc.S3Location, id, err = checkS3(in.S3Location)
	case types.RevisionLocationTypeGitHub:
		err = badRevision("For Lambda deployments, the revision type can be S3, String or AppSpecContent only")
	default:
		err = badRevision(fmt.Sprintf("Unsupported revision type: '%s'", in.RevisionType))
	}
	return loc, string(in.RevisionType) + "-" + id, err
}

// checkText checks a text against its hash, and returns that.
func checkText(content, hash *string) (*string, error) {
	if content == nil {
		if aws.ToString(hash) == "" {
			return nil, badRevision("The content of the revision, or the SHA-256 hash of a registered one, must be specified")
		}
		return new(strings.ToLower(*hash)), nil
	}
	sum := sha256.Sum256([]byte(*content))
	want := hex.EncodeToString(sum[:])
	if hash != nil && !strings.EqualFold(*hash, want) {
		return nil, badRevision("The SHA-256 hash of the revision's content is " + want + ", not " + *hash)
	}
	return &want, nil
}

func checkS3(in *types.S3Location) (*types.S3Location, string, error) {
	if in == nil || aws.ToString(in.Bucket) == "" || aws.ToString(in.Key) == "" {
		return nil, "", badRevision("Bucket and key must be specified for the revision type S3")
	}
	if in.BundleType != types.BundleTypeYaml && in.BundleType != types.BundleTypeJson {
		return nil, "", badRevision("BundleType must be either YAML or JSON")
	}
	loc := *in
	sum := sha256.Sum256([]byte(strings.Join([]string{*in.Bucket, *in.Key, aws.ToString(in.Version), aws.ToString(in.ETag), string(in.BundleType)}, "\x00")))
	return &loc, hex.EncodeToString(sum[:]), nil
}

// text is the AppSpec file that a revision holds; nil if it is somewhere else.
func text(loc types.RevisionLocation) *string {
	switch {
	case loc.AppSpecContent != nil:
		return loc.AppSpecContent.Content
	case loc.String_ != nil:
		return loc.String_.Content
	}
	return nil
}

func noRevision() error {
	return &types.RevisionDoesNotExistException{Message: new("The named revision does not exist with the user or AWS account.")}
}

// register keeps a revision of an application, or finds it there: to register
// one again changes nothing.
func register(tx *store.Tx, region, app string, loc types.RevisionLocation, id string, description *string) (revision, error) {
	k := key(region, app, id)
	r, ok, err := revisions.Get(tx, k)
	if err != nil || ok {
		return r, err
	}
	if loc.S3Location == nil && text(loc) == nil {
		return r, noRevision()
	}
	r = revision{Location: loc, Info: types.GenericRevisionInfo{RegisterTime: new(now()), Description: description}}
	return r, revisions.Put(tx, k, r)
}

// RegisterApplicationRevision makes a revision known to an application.
func (s *Service) RegisterApplicationRevision(ctx context.Context, in *sdk.RegisterApplicationRevisionInput) (*sdk.RegisterApplicationRevisionOutput, error) {
	if err := first(checkApp(in.ApplicationName), checkDescription(in.Description)); err != nil {
		return nil, err
	}
	loc, id, err := checkLocation(in.Revision)
	if err != nil {
		return nil, err
	}
	region := wire.CallOf(ctx).Region
	return &sdk.RegisterApplicationRevisionOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := loadApp(tx, region, in.ApplicationName); err != nil {
			return err
		}
		_, err := register(tx, region, *in.ApplicationName, loc, id, in.Description)
		return err
	})
}

// loadRevision is a registered revision as callers see it.
func loadRevision(tx *store.Tx, region string, app *string, in *types.RevisionLocation) (revision, error) {
	_, id, err := checkLocation(in)
	if err != nil {
		return revision{}, err
	}
	r, ok, err := revisions.Get(tx, key(region, *app, id))
	if err != nil || !ok {
		return r, first(err, noRevision())
	}
	r.Info.DeploymentGroups, err = deployedTo(tx, region, *app, id)
	return r, err
}

// deployedTo are the groups that a revision was deployed to last.
func deployedTo(tx *store.Tx, region, app, id string) ([]string, error) {
	names := []string{}
	for r, err := range groups.Prefix(tx, key(region, app)+"/") {
		if err != nil {
			return nil, err
		}
		if r.Value.Info.TargetRevision == nil {
			continue
		}
		if _, its, err := checkLocation(r.Value.Info.TargetRevision); err == nil && its == id {
			names = append(names, *r.Value.Info.DeploymentGroupName)
		}
	}
	return names, nil
}

// GetApplicationRevision tells a registered revision.
func (s *Service) GetApplicationRevision(ctx context.Context, in *sdk.GetApplicationRevisionInput) (*sdk.GetApplicationRevisionOutput, error) {
	out := &sdk.GetApplicationRevisionOutput{ApplicationName: in.ApplicationName}
	return out, s.DB.View(func(tx *store.Tx) error {
		region := wire.CallOf(ctx).Region
		if _, err := loadApp(tx, region, in.ApplicationName); err != nil {
			return err
		}
		r, err := loadRevision(tx, region, in.ApplicationName, in.Revision)
		out.Revision, out.RevisionInfo = &r.Location, &r.Info
		return err
	})
}

// BatchGetApplicationRevisions tells registered revisions; those that are not
// there are named in an error message.
func (s *Service) BatchGetApplicationRevisions(ctx context.Context, in *sdk.BatchGetApplicationRevisionsInput) (*sdk.BatchGetApplicationRevisionsOutput, error) {
	if err := checkBatch(len(in.Revisions), maxBatchRevisions); err != nil {
		return nil, err
	}
	if len(in.Revisions) == 0 {
		_, _, err := checkLocation(nil)
		return nil, first(checkApp(in.ApplicationName), err)
	}
	out := &sdk.BatchGetApplicationRevisionsOutput{ApplicationName: in.ApplicationName, Revisions: []types.RevisionInfo{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		region := wire.CallOf(ctx).Region
		if _, err := loadApp(tx, region, in.ApplicationName); err != nil {
			return err
		}
		for _, loc := range in.Revisions {
			r, err := loadRevision(tx, region, in.ApplicationName, &loc)
			if missing, ok := errors.AsType[*types.RevisionDoesNotExistException](err); ok {
				out.ErrorMessage = missing.Message
				continue
			}
			if err != nil {
				return err
			}
			out.Revisions = append(out.Revisions, types.RevisionInfo{RevisionLocation: &r.Location, GenericRevisionInfo: &r.Info})
		}
		return nil
	})
}

// ListApplicationRevisions lists the registered revisions of an application.
func (s *Service) ListApplicationRevisions(ctx context.Context, in *sdk.ListApplicationRevisionsInput) (*sdk.ListApplicationRevisionsOutput, error) {
	if err := first(checkApp(in.ApplicationName), checkListing(in)); err != nil {
		return nil, err
	}
	region := wire.CallOf(ctx).Region
	prefix := key(region, *in.ApplicationName) + "/"
	from, err := openToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListApplicationRevisionsOutput{Revisions: []types.RevisionLocation{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, err := loadApp(tx, region, in.ApplicationName); err != nil {
			return err
		}
		all, err := listed(tx, in, prefix)
		if err != nil {
			return err
		}
		var p pager
		for _, r := range all {
			if from != "" { // skips the pages before
				if r.Key == from {
					from = ""
				}
				continue
			}
			if p.full(r.Key) {
				break
			}
			out.Revisions = append(out.Revisions, r.Value.Location)
		}
		out.NextToken = p.next
		return nil
	})
}

func checkListing(in *sdk.ListApplicationRevisionsInput) error {
	switch {
	case in.SortBy != "" && !slices.Contains(in.SortBy.Values(), in.SortBy):
		return &types.InvalidSortByException{Message: new(fmt.Sprintf("The column name to sort by is either not present or not valid: %s", in.SortBy))}
	case in.SortOrder != "" && !slices.Contains(in.SortOrder.Values(), in.SortOrder):
		return &types.InvalidSortOrderException{Message: new(fmt.Sprintf("The sort order was specified in an invalid format: %s", in.SortOrder))}
	case in.Deployed != "" && !slices.Contains(in.Deployed.Values(), in.Deployed):
		return &types.InvalidDeployedStateFilterException{Message: new(fmt.Sprintf("The deployed state filter was specified in an invalid format: %s", in.Deployed))}
	case in.S3KeyPrefix != nil && in.S3Bucket == nil:
		return &types.BucketNameFilterRequiredException{Message: new("A bucket name is required, but was not provided.")}
	}
	return nil
}

// listed are the revisions that a request asks for, in its order.
func listed(tx *store.Tx, in *sdk.ListApplicationRevisionsInput, prefix string) ([]store.Row[revision], error) {
	var all []store.Row[revision]
	for r, err := range revisions.Prefix(tx, prefix) {
		if err != nil {
			return nil, err
		}
		used, s3 := r.Value.Info.FirstUsedTime != nil, r.Value.Location.S3Location
		if in.Deployed == types.ListStateFilterActionInclude && !used || in.Deployed == types.ListStateFilterActionExclude && used {
			continue
		}
		if in.S3Bucket != nil && (s3 == nil || *s3.Bucket != *in.S3Bucket || !strings.HasPrefix(*s3.Key, aws.ToString(in.S3KeyPrefix))) {
			continue
		}
		all = append(all, r)
	}
	at := func(r store.Row[revision]) time.Time {
		switch in.SortBy {
		case types.ApplicationRevisionSortByFirstUsedTime:
			return aws.ToTime(r.Value.Info.FirstUsedTime)
		case types.ApplicationRevisionSortByLastUsedTime:
			return aws.ToTime(r.Value.Info.LastUsedTime)
		}
		return aws.ToTime(r.Value.Info.RegisterTime)
	}
	slices.SortStableFunc(all, func(a, b store.Row[revision]) int {
		if in.SortOrder == types.SortOrderDescending {
			a, b = b, a
		}
		return at(a).Compare(at(b))
	})
	return all, nil
}

// moveRevisions moves the revisions of an application to those of another
// name of it, or, to "", removes them.
func moveRevisions(tx *store.Tx, from, to string) error {
	var all []store.Row[revision]
	for r, err := range revisions.Prefix(tx, from) {
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	for _, r := range all {
		if err := revisions.Delete(tx, r.Key); err != nil {
			return err
		}
		if to == "" {
			continue
		}
		if err := revisions.Put(tx, to+strings.TrimPrefix(r.Key, from), r.Value); err != nil {
			return err
		}
	}
	return nil
}
