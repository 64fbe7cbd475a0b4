package resource

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"golang.org/x/sync/errgroup"

	"miniforge/internal/graph"
)

// keyAPI is what a Key asks of KMS.
type keyAPI interface {
	CreateKey(context.Context, *kms.CreateKeyInput, ...func(*kms.Options)) (*kms.CreateKeyOutput, error)
	DescribeKey(context.Context, *kms.DescribeKeyInput, ...func(*kms.Options)) (*kms.DescribeKeyOutput, error)
	ListKeys(context.Context, *kms.ListKeysInput, ...func(*kms.Options)) (*kms.ListKeysOutput, error)
	ListResourceTags(context.Context, *kms.ListResourceTagsInput, ...func(*kms.Options)) (*kms.ListResourceTagsOutput, error)
	GetKeyPolicy(context.Context, *kms.GetKeyPolicyInput, ...func(*kms.Options)) (*kms.GetKeyPolicyOutput, error)
	PutKeyPolicy(context.Context, *kms.PutKeyPolicyInput, ...func(*kms.Options)) (*kms.PutKeyPolicyOutput, error)
	GetKeyRotationStatus(context.Context, *kms.GetKeyRotationStatusInput, ...func(*kms.Options)) (*kms.GetKeyRotationStatusOutput, error)
	EnableKeyRotation(context.Context, *kms.EnableKeyRotationInput, ...func(*kms.Options)) (*kms.EnableKeyRotationOutput, error)
	EnableKey(context.Context, *kms.EnableKeyInput, ...func(*kms.Options)) (*kms.EnableKeyOutput, error)
	CancelKeyDeletion(context.Context, *kms.CancelKeyDeletionInput, ...func(*kms.Options)) (*kms.CancelKeyDeletionOutput, error)
	ScheduleKeyDeletion(context.Context, *kms.ScheduleKeyDeletionInput, ...func(*kms.Options)) (*kms.ScheduleKeyDeletionOutput, error)
	CreateAlias(context.Context, *kms.CreateAliasInput, ...func(*kms.Options)) (*kms.CreateAliasOutput, error)
	DeleteAlias(context.Context, *kms.DeleteAliasInput, ...func(*kms.Options)) (*kms.DeleteAliasOutput, error)
}

var _ keyAPI = (*kms.Client)(nil)

// keyDeletionDays is the shortest waiting period that KMS allows.
const keyDeletionDays = 7

// keyPolicyName is the only name that KMS knows. It is also the default, which
// not every endpoint has.
const keyPolicyName = "default"

// A Key is a customer-managed KMS key with its alias.
//
// KMS chooses the id of a key and offers no idempotency token, so a key is
// found by its alias, and, where the alias is missing, by the stack's tag: a
// run that was killed between CreateKey and CreateAlias leaves a tagged key
// without alias, which the next run adopts. A tagged key that is pending
// deletion is revived rather than replaced: data written under it becomes
// readable again, and no second key is paid for.
type Key struct {
	KMS         keyAPI
	Owner       Owner
	Alias       string // with its prefix: "alias/miniforge-data"
	Description string
	Policy      Policy

	arn     string // known once observed or created
	pending bool   // arn is a key pending deletion
}

func (k *Key) ID() string              { return "kms/" + k.Alias }
func (k *Key) Needs() []graph.Resource { return nil }

// ARN is that of the key itself, or "" before the key exists.
func (k *Key) ARN() string {
	if k.pending {
		return ""
	}
	return k.arn
}

// keyID is the last part of the ARN, which every operation takes.
func (k *Key) keyID() *string {
	id := k.arn[strings.LastIndex(k.arn, "/")+1:]
	return &id
}

func (k *Key) Observe(ctx context.Context) (graph.Observation, error) {
	k.arn, k.pending = "", false
	out, err := k.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &k.Alias})
	switch {
	case err == nil:
		return k.compare(ctx, out.KeyMetadata, true)
	case !gone(err):
		return graph.Observation{}, failed("describe", k.Alias, err)
	}
	orphan, err := k.findByTag(ctx)
	if err != nil || orphan == nil {
		return graph.Observation{}, err
	}
	if orphan.KeyState == types.KeyStatePendingDeletion {
		// Deleted as far as anyone is concerned; Create revives it.
		k.arn, k.pending = deref(orphan.Arn), true
		return graph.Observation{}, nil
	}
	return k.compare(ctx, orphan, false)
}

func (k *Key) compare(ctx context.Context, meta *types.KeyMetadata, aliased bool) (graph.Observation, error) {
	k.arn = deref(meta.Arn)
	var policy, rotation string
	var tags map[string]string
	err := together(ctx, func(ctx context.Context) (err error) {
		tags, err = k.tags(ctx, k.arn)
		return err
	}, func(ctx context.Context) error {
		name := keyPolicyName
		out, err := k.KMS.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &k.arn, PolicyName: &name})
		if err == nil {
			policy = deref(out.Policy)
		}
		return err
	}, func(ctx context.Context) error {
		out, err := k.KMS.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: &k.arn})
		if hasCode(err, "KMSInvalidStateException") { // not readable on a key that is pending deletion
			return nil
		}
		if err == nil {
			rotation = fmt.Sprint(out.KeyRotationEnabled)
		}
		return err
	})
	if err != nil {
		return graph.Observation{}, failed("read", k.Alias, err)
	}
	var d drift
	d.add("State", string(types.KeyStateEnabled), string(meta.KeyState))
	d.add("Rotation", "true", rotation)
	d.json("Policy", k.Policy.String(), policy)
	if !aliased {
		d.add("Alias", k.Alias, "")
	}
	return graph.Observation{Exists: true, Owned: k.Owner.owns(tags), Drift: d}, nil
}

func (k *Key) tags(ctx context.Context, id string) (map[string]string, error) {
	tags := map[string]string{}
	pages := kms.NewListResourceTagsPaginator(k.KMS, &kms.ListResourceTagsInput{KeyId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range page.Tags {
			tags[deref(t.TagKey)] = deref(t.TagValue)
		}
	}
	return tags, nil
}

// findByTag returns the best key with the stack's tag: one in use before one
// pending deletion, then the newest. It returns nil if there is none.
func (k *Key) findByTag(ctx context.Context) (*types.KeyMetadata, error) {
	keys, err := k.Tagged(ctx)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	best := keys[0]
	for _, key := range keys {
		if better(key, best) {
			best = key
		}
	}
	return best, nil
}

// Tagged returns every key of the stack that is in use or pending deletion. It
// reads all keys of the account.
func (k *Key) Tagged(ctx context.Context) ([]*types.KeyMetadata, error) {
	var (
		mu   sync.Mutex
		keys []*types.KeyMetadata
		eg   errgroup.Group
	)
	eg.SetLimit(16)
	pages := kms.NewListKeysPaginator(k.KMS, &kms.ListKeysInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, errors.Join(failed("list keys for", k.Alias, err), eg.Wait())
		}
		for _, entry := range page.Keys {
			eg.Go(func() error {
				meta, err := k.ours(ctx, deref(entry.KeyId))
				if err != nil || meta == nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, meta)
				return nil
			})
		}
	}
	return keys, eg.Wait()
}

// ours returns the key if it carries the stack's tag and can still be used.
func (k *Key) ours(ctx context.Context, id string) (*types.KeyMetadata, error) {
	tags, err := k.tags(ctx, id)
	if gone(err) || hasCode(err, "AccessDeniedException", "AccessDenied") {
		return nil, nil // another stack's key may be closed to us; it is not ours, then
	}
	if err != nil || !k.Owner.owns(tags) {
		return nil, failed("read tags of key", id, err)
	}
	out, err := k.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return nil, failed("describe key", id, err)
	}
	switch m := out.KeyMetadata; m.KeyState {
	case types.KeyStateEnabled, types.KeyStateDisabled, types.KeyStatePendingDeletion:
		return m, nil
	}
	return nil, nil
}

func better(a, b *types.KeyMetadata) bool {
	if pa, pb := a.KeyState == types.KeyStatePendingDeletion, b.KeyState == types.KeyStatePendingDeletion; pa != pb {
		return pb
	}
	return deref(a.CreationDate).After(deref(b.CreationDate))
}

func (k *Key) Create(ctx context.Context) error {
	if k.pending {
		if err := k.revive(ctx); err != nil {
			return err
		}
		return k.Update(ctx, []graph.Diff{{Field: "Policy"}, {Field: "Rotation"}, {Field: "Alias"}})
	}
	policy := k.Policy.String()
	out, err := k.KMS.CreateKey(ctx, &kms.CreateKeyInput{
		Description: &k.Description,
		Policy:      &policy,
		Tags: tagList(k.Owner.Tags(), func(key, v *string) types.Tag {
			return types.Tag{TagKey: key, TagValue: v}
		}),
	}, func(o *kms.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		return failedOnce("create key", k.Alias, err)
	}
	k.arn = deref(out.KeyMetadata.Arn)
	return k.Update(ctx, []graph.Diff{{Field: "Rotation"}, {Field: "Alias"}})
}

func (k *Key) revive(ctx context.Context) error {
	if _, err := k.KMS.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: k.keyID()}); err != nil {
		return failed("cancel the deletion of", k.arn, err)
	}
	k.pending = false
	_, err := k.KMS.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.keyID()})
	return failed("enable", k.arn, err)
}

func (k *Key) Update(ctx context.Context, diffs []graph.Diff) error {
	for _, d := range diffs {
		if err := k.cure(ctx, d); err != nil {
			return failed("set "+d.Field+" of", k.Alias, err)
		}
	}
	return nil
}

func (k *Key) cure(ctx context.Context, d graph.Diff) (err error) {
	switch d.Field {
	case "State":
		if d.Got == string(types.KeyStatePendingDeletion) {
			return k.revive(ctx)
		}
		_, err = k.KMS.EnableKey(ctx, &kms.EnableKeyInput{KeyId: k.keyID()})
	case "Rotation":
		_, err = k.KMS.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: &k.arn})
	case "Policy":
		name, policy := keyPolicyName, k.Policy.String()
		_, err = k.KMS.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &k.arn, PolicyName: &name, Policy: &policy})
	case "Alias":
		_, err = k.KMS.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &k.Alias, TargetKeyId: &k.arn})
	}
	return err
}

// Delete removes the alias first: KMS keeps it until the key is gone, and the
// next run would find an alias on a dying key.
func (k *Key) Delete(ctx context.Context) error {
	_, err := k.KMS.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: &k.Alias})
	if err := deleted(k.Alias, err); err != nil {
		return err
	}
	days := int32(keyDeletionDays)
	_, err = k.KMS.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.keyID(), PendingWindowInDays: &days})
	if hasCode(err, "KMSInvalidStateException") { // scheduled already
		err = nil
	}
	if err := deleted(k.arn, err); err != nil {
		return err
	}
	return until(ctx, "deletion of "+k.arn, func(ctx context.Context) (bool, error) {
		out, err := k.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.keyID()})
		if err != nil {
			return gone(err), deleted(k.arn, err)
		}
		return out.KeyMetadata.KeyState == types.KeyStatePendingDeletion, nil
	})
}
