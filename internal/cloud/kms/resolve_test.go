package kms

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

func TestFormOfKeyIDs(t *testing.T) {
	form := regexp.MustCompile(`^(mrk-[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)
	near := rapid.OneOf(
		rapid.StringMatching(`(mrk-[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})`),
		rapid.StringMatching(`[mrk0-9a-g-]{35,37}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		id := near.Draw(t, "id")
		if rapid.Bool().Draw(t, "spoilt") {
			i := rapid.IntRange(0, len(id)-1).Draw(t, "at")
			id = id[:i] + rapid.SampledFrom([]string{"", "-", "g", "A", "\n", "0", "00"}).Draw(t, "by") + id[i+1:]
		}
		if got, want := isKeyID(id), form.MatchString(id); got != want {
			t.Errorf("%q: %v, want %v", id, got, want)
		}
	})
}
