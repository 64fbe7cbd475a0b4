package apigw

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestVariablesOfFormats compares what is taken for a variable with a pattern.
func TestVariablesOfFormats(t *testing.T) {
	variable := regexp.MustCompile(`\$context\.[A-Za-z.]+`)
	value := func(name string) string { return "<" + name + ">" }
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.StringMatching(`((\$?context\.?)?[aZ.$@\[{ é]{0,3}){0,4}`).Draw(t, "format")
		want := variable.ReplaceAllStringFunc(format, func(v string) string { return value(strings.TrimPrefix(v, "$context.")) })
		if got := expand(format, value); got != want {
			t.Fatalf("%q becomes %q, want %q", format, got, want)
		}
	})
}
