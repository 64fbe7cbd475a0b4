// Package resource has one file for each AWS resource type of the system. A
// type declares what is wanted, finds itself again without a state file,
// compares every declared property with what exists, and implements
// graph.Resource through the few operations of the SDK client that it calls.
//
// Nothing here knows which resources make up the system; package stack does.
package resource

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"miniforge/internal/graph"
)

// StackTag is the key of the tag that says which stack a resource belongs to.
const StackTag = "miniforge:stack"

// An Owner is the stack that a resource belongs to. Ownership is decided by
// the tag StackTag alone, never by a prefix of the name.
type Owner struct{ Stack string }

// Tags returns the tags that every resource of the stack carries.
func (o Owner) Tags() map[string]string { return map[string]string{StackTag: o.Stack} }

// owns reports whether the tags are those of a resource of this stack.
func (o Owner) owns(tags map[string]string) bool { return tags[StackTag] == o.Stack }

// unknown stands for a value that the cloud chooses and has not chosen yet, in
// a plan for something whose dependency does not exist.
const unknown = "(known after create)"

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

// tagMap turns any SDK's list of tags into a map.
func tagMap[T any](tags []T, pair func(T) (*string, *string)) map[string]string {
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		if k, v := pair(t); k != nil {
			out[*k] = deref(v)
		}
	}
	return out
}

// tagList turns a map of tags into any SDK's list, in key order.
func tagList[T any](tags map[string]string, make func(k, v *string) T) []T {
	var out []T
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		v := tags[k]
		out = append(out, make(&k, &v))
	}
	return out
}

// deref returns what p points to, or the zero value.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// drift collects differences.
type drift []graph.Diff

func (d *drift) add(field, want, got string) {
	if want != got {
		*d = append(*d, graph.Diff{Field: field, Want: want, Got: got})
	}
}

func (d *drift) int(field string, want, got int64) {
	d.add(field, strconv.FormatInt(want, 10), strconv.FormatInt(got, 10))
}

func (d *drift) bool(field string, want, got bool) {
	d.add(field, strconv.FormatBool(want), strconv.FormatBool(got))
}

// json compares two JSON texts by meaning, in the way of IAM policies.
func (d *drift) json(field, want, got string) {
	if canonical(want) != canonical(got) {
		*d = append(*d, graph.Diff{Field: field, Want: want, Got: got})
	}
}

// maps compares the wanted keys only: a service adds keys of its own.
func (d *drift) maps(prefix string, want, got map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		d.add(prefix+k, want[k], got[k])
	}
}

// replace is add for a field that cannot be changed in place.
func (d *drift) replace(field, want, got string) {
	if want != got {
		*d = append(*d, graph.Diff{Field: field, Want: want, Got: got, Replace: true})
	}
}

// drifted reports whether a field of one of these names, or below it, differs.
func drifted(diffs []graph.Diff, fields ...string) bool {
	return slices.ContainsFunc(diffs, func(d graph.Diff) bool {
		return slices.ContainsFunc(fields, func(f string) bool {
			return d.Field == f || strings.HasPrefix(d.Field, f+".")
		})
	})
}

// together runs reads at the same time and returns the first error.
func together(ctx context.Context, fns ...func(context.Context) error) error {
	eg, ctx := errgroup.WithContext(ctx)
	for _, fn := range fns {
		eg.Go(func() error { return fn(ctx) })
	}
	return eg.Wait()
}

// until polls done until it reports true, fails, or the context ends. It asks
// often at first, as a local endpoint needs milliseconds and AWS seconds.
func until(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	const first, last = 20 * time.Millisecond, 2 * time.Second
	for pause := first; ; pause = min(pause*3/2, last) {
		ok, err := done(ctx)
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}
