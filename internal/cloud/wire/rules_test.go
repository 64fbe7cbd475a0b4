package wire

import (
	"reflect"
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

// The places of broken constraints are written as AWS writes them.
func TestPlacesOfProblems(t *testing.T) {
	type element struct {
		Name *string
		Tags []string
	}
	type group struct{ Elements []element }
	type input struct {
		Name  *string
		Group *group
	}
	o := &operation{api: &API{}, in: reflect.TypeFor[input]()}
	in := &input{Group: &group{Elements: []element{{Name: new("a")}, {Tags: []string{"good", "", "bad"}}}}}
	var problems []Problem
	for _, text := range []string{"Name!", "Group.Elements[].Name! 1..2", "Group.Elements[].Tags[] 1..4"} {
		r := parseRule(o, text)
		r.check(reflect.ValueOf(in).Elem(), r.path, nil, &problems)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	if want := []string{"name", "group.elements.2.member.name"}; !reflect.DeepEqual(got, want) {
		t.Errorf("problems at %q, want %q", got, want)
	}
	in.Group.Elements[1].Tags[2] = "too long"
	r := parseRule(o, "Group.Elements[].Tags[] 1..4")
	problems = nil
	r.check(reflect.ValueOf(in).Elem(), r.path, nil, &problems)
	if len(problems) != 1 || problems[0].Path != "group.elements.2.member.tags.3.member" {
		t.Errorf("problems %+v, want one at the third tag of the second element", problems)
	}
}

// TestCharsetsAgreeWithRegexp compares the patterns that are matched without regexp.
func TestCharsetsAgreeWithRegexp(t *testing.T) {
	for _, pattern := range []string{`[a-zA-Z0-9_.-]+`, `[^:*]*`, `[\.\-_/#A-Za-z0-9]+`, `[\w+=,.@-]*`, `[\d]*`, `\d+`, "[^a\ufffd]+", `[é-ü]*`, `[^\x00-\x7f]+`} {
		c, ok := parseCharset(pattern)
		if !ok {
			t.Errorf("%s is no class of characters", pattern)
			continue
		}
		want := regexp.MustCompile(`^(?s:` + pattern + `)$`)
		rapid.Check(t, func(t *rapid.T) {
			s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-f:*._é0-9-]{0,4}`), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
			if c.MatchString(s) != want.MatchString(s) {
				t.Fatalf("%s on %q: %t, want %t", pattern, s, c.MatchString(s), want.MatchString(s))
			}
		})
	}
	for _, pattern := range []string{`[a-z]`, `[a-z]+?`, `[a-z]*\d`, `(a|b)+x`, `.*`, `[a-z]{2,}`, `a+`, `(`} {
		if c, ok := parseCharset(pattern); ok && c.MatchString("b") != regexp.MustCompile(`^(?s:`+pattern+`)$`).MatchString("b") {
			t.Errorf("%s is taken for a class of characters", pattern)
		}
	}
}

// TestLengthsAreCountedInCharacters compares lengths that are seen from the
// number of bytes with counted ones.
func TestLengthsAreCountedInCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.StringMatching(`[aé😀]{0,12}`), rapid.String()).Draw(t, "text")
		r := rule{ranged: true, min: float64(rapid.IntRange(-1, 6).Draw(t, "min")), max: float64(rapid.IntRange(0, 12).Draw(t, "max"))}
		n := float64(len([]rune(s)))
		if got, want := r.outside(reflect.ValueOf(s)) != "", n < r.min || n > r.max; got != want {
			t.Fatalf("%q in %v..%v: outside is %t, want %t", s, r.min, r.max, got, want)
		}
	})
}
