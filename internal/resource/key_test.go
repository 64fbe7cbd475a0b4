package resource

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/graph"
)

// fakeKMS keeps keys and one alias; it records writes.
type fakeKMS struct {
	keyAPI //nolint:unused // what the test does not expect to be called panics
	keys   map[string]*fakeKey
	alias  string // the key it points at, or ""
	writes []string
	fail   map[string]error // by write, once
}

type fakeKey struct {
	state   types.KeyState
	tags    map[string]string
	policy  string
	rotates bool
	made    time.Time
}

func (f *fakeKMS) write(what string) error {
	f.writes = append(f.writes, what)
	err := f.fail[what]
	delete(f.fail, what)
	return err
}

func (f *fakeKMS) find(id string) (string, *fakeKey) {
	if len(id) > 6 && id[:6] == "alias/" {
		id = f.alias
	}
	if i := len(id) - 1; i >= 0 && len(id) > 8 && id[:8] == "arn:key/" {
		id = id[8:]
	}
	return id, f.keys[id]
}

func (f *fakeKMS) meta(id string) (*types.KeyMetadata, error) {
	id, k := f.find(id)
	if k == nil {
		return nil, &types.NotFoundException{}
	}
	return &types.KeyMetadata{Arn: new("arn:key/" + id), KeyId: &id, KeyState: k.state, CreationDate: &k.made}, nil
}

func (f *fakeKMS) DescribeKey(_ context.Context, in *kms.DescribeKeyInput, _ ...func(*kms.Options)) (*kms.DescribeKeyOutput, error) {
	m, err := f.meta(*in.KeyId)
	return &kms.DescribeKeyOutput{KeyMetadata: m}, err
}

func (f *fakeKMS) ListKeys(context.Context, *kms.ListKeysInput, ...func(*kms.Options)) (*kms.ListKeysOutput, error) {
	out := &kms.ListKeysOutput{}
	for id := range f.keys {
		out.Keys = append(out.Keys, types.KeyListEntry{KeyId: &id})
	}
	return out, nil
}

func (f *fakeKMS) ListResourceTags(_ context.Context, in *kms.ListResourceTagsInput, _ ...func(*kms.Options)) (*kms.ListResourceTagsOutput, error) {
	_, k := f.find(*in.KeyId)
	return &kms.ListResourceTagsOutput{Tags: tagList(k.tags, func(k, v *string) types.Tag { return types.Tag{TagKey: k, TagValue: v} })}, nil
}

func (f *fakeKMS) GetKeyPolicy(_ context.Context, in *kms.GetKeyPolicyInput, _ ...func(*kms.Options)) (*kms.GetKeyPolicyOutput, error) {
	_, k := f.find(*in.KeyId)
	return &kms.GetKeyPolicyOutput{Policy: &k.policy}, nil
}

func (f *fakeKMS) GetKeyRotationStatus(_ context.Context, in *kms.GetKeyRotationStatusInput, _ ...func(*kms.Options)) (*kms.GetKeyRotationStatusOutput, error) {
	_, k := f.find(*in.KeyId)
	return &kms.GetKeyRotationStatusOutput{KeyRotationEnabled: k.rotates}, nil
}

func (f *fakeKMS) CreateKey(_ context.Context, in *kms.CreateKeyInput, _ ...func(*kms.Options)) (*kms.CreateKeyOutput, error) {
	tags := tagMap(in.Tags, func(t types.Tag) (*string, *string) { return t.TagKey, t.TagValue })
	f.keys["new"] = &fakeKey{state: "Enabled", tags: tags, policy: *in.Policy}
	if err := f.write("create"); err != nil {
		return nil, err
	}
	m, err := f.meta("new")
	return &kms.CreateKeyOutput{KeyMetadata: m}, err
}

func (f *fakeKMS) EnableKeyRotation(_ context.Context, in *kms.EnableKeyRotationInput, _ ...func(*kms.Options)) (*kms.EnableKeyRotationOutput, error) {
	_, k := f.find(*in.KeyId)
	k.rotates = true
	return &kms.EnableKeyRotationOutput{}, f.write("rotate")
}

func (f *fakeKMS) EnableKey(_ context.Context, in *kms.EnableKeyInput, _ ...func(*kms.Options)) (*kms.EnableKeyOutput, error) {
	_, k := f.find(*in.KeyId)
	k.state = "Enabled"
	return &kms.EnableKeyOutput{}, f.write("enable")
}

func (f *fakeKMS) PutKeyPolicy(_ context.Context, in *kms.PutKeyPolicyInput, _ ...func(*kms.Options)) (*kms.PutKeyPolicyOutput, error) {
	_, k := f.find(*in.KeyId)
	k.policy = *in.Policy
	return &kms.PutKeyPolicyOutput{}, f.write("policy")
}

func (f *fakeKMS) CancelKeyDeletion(_ context.Context, in *kms.CancelKeyDeletionInput, _ ...func(*kms.Options)) (*kms.CancelKeyDeletionOutput, error) {
	_, k := f.find(*in.KeyId)
	k.state = "Disabled"
	return &kms.CancelKeyDeletionOutput{}, f.write("revive")
}

func (f *fakeKMS) ScheduleKeyDeletion(_ context.Context, in *kms.ScheduleKeyDeletionInput, _ ...func(*kms.Options)) (*kms.ScheduleKeyDeletionOutput, error) {
	_, k := f.find(*in.KeyId)
	if k.state == "PendingDeletion" {
		return nil, &types.KMSInvalidStateException{}
	}
	k.state = "PendingDeletion"
	return &kms.ScheduleKeyDeletionOutput{}, f.write("schedule")
}

func (f *fakeKMS) CreateAlias(_ context.Context, in *kms.CreateAliasInput, _ ...func(*kms.Options)) (*kms.CreateAliasOutput, error) {
	if err := f.write("alias"); err != nil {
		return nil, err
	}
	f.alias, _ = f.find(*in.TargetKeyId)
	return &kms.CreateAliasOutput{}, nil
}

func (f *fakeKMS) DeleteAlias(context.Context, *kms.DeleteAliasInput, ...func(*kms.Options)) (*kms.DeleteAliasOutput, error) {
	f.alias = ""
	return &kms.DeleteAliasOutput{}, f.write("unalias")
}

func testKey(f *fakeKMS) (*Key, *graph.Graph) {
	k := &Key{KMS: f, Owner: Owner{"s"}, Alias: "alias/s-data", Policy: Policy{{Effect: "Allow", Action: []string{"kms:*"}}}}
	g, err := graph.New(k)
	if err != nil {
		panic(err) // one resource without needs is a graph
	}
	return k, g
}

func TestKeyLifecycle(t *testing.T) {
	ours := map[string]string{StackTag: "s"}
	good := Policy{{Effect: "Allow", Action: []string{"kms:*"}}}.String()
	for name, c := range map[string]struct {
		keys   map[string]*fakeKey
		alias  string
		writes []string
		key    string
		err    error
	}{
		"nothing there": {map[string]*fakeKey{}, "", []string{"create", "rotate", "alias"}, "new", nil},
		"as declared": {map[string]*fakeKey{"a": {state: "Enabled", tags: ours, policy: good, rotates: true}}, "a",
			nil, "a", nil},
		"killed between key and alias": {map[string]*fakeKey{"a": {state: "Enabled", tags: ours, policy: good}}, "",
			[]string{"rotate", "alias"}, "a", nil},
		"deleted by an earlier down": {map[string]*fakeKey{"a": {state: "PendingDeletion", tags: ours, policy: "{}"}}, "",
			[]string{"revive", "enable", "policy", "rotate", "alias"}, "a", nil},
		"killed between alias and revival": {map[string]*fakeKey{"a": {state: "PendingDeletion", tags: ours, policy: good, rotates: true}}, "a",
			[]string{"revive", "enable"}, "a", nil},
		"one in use beats one pending": {map[string]*fakeKey{
			"a": {state: "PendingDeletion", tags: ours, made: time.Unix(9, 0)}, "b": {state: "Enabled", tags: ours, policy: good, rotates: true, made: time.Unix(1, 0)}}, "",
			[]string{"alias"}, "b", nil},
		"alias of another stack": {map[string]*fakeKey{"a": {state: "Enabled", tags: map[string]string{StackTag: "other"}}}, "a",
			nil, "a", graph.ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeKMS{keys: c.keys, alias: c.alias}
			k, g := testKey(f)
			_, err := g.Ensure(t.Context(), graph.Options{})
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if d := cmp.Diff(c.writes, f.writes); d != "" {
				t.Errorf("writes (-want +got):\n%s", d)
			}
			if k.ARN() != "arn:key/"+c.key || f.alias != c.key {
				t.Errorf("key %s, alias of %s; want %s", k.ARN(), f.alias, c.key)
			}
			if c.err != nil {
				return
			}
			f.writes = nil
			if _, err := g.Ensure(t.Context(), graph.Options{}); err != nil || f.writes != nil {
				t.Errorf("second run: %v, wrote %v", err, f.writes)
			}
		})
	}
}

// A run that fails after CreateKey must not pay for a second key.
func TestKeyIsNotDoubledByAFailure(t *testing.T) {
	f := &fakeKMS{keys: map[string]*fakeKey{}, fail: map[string]error{"alias": errors.New("connection reset")}}
	_, g := testKey(f)
	if _, err := g.Ensure(t.Context(), graph.Options{}); err == nil {
		t.Fatal("the failure was lost")
	}
	_, again := testKey(f)
	if _, err := again.Ensure(t.Context(), graph.Options{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"create", "rotate", "alias", "alias"}, f.writes); d != "" {
		t.Error(d)
	}
	if _, err := again.Destroy(t.Context(), graph.Options{}); err != nil || f.alias != "" || f.keys["new"].state != "PendingDeletion" {
		t.Errorf("destroy: %v, alias %q, key %s", err, f.alias, f.keys["new"].state)
	}
	steps, err := again.Destroy(t.Context(), graph.Options{})
	if err != nil || steps[0].Action != graph.Keep {
		t.Errorf("second destroy: %v, %v", err, steps)
	}
}
