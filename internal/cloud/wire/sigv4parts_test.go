package wire

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPartsOfSignaturesAgreeWithTheirPatterns compares what judges each request
// with the patterns that say the same at greater length.
func TestPartsOfSignaturesAgreeWithTheirPatterns(t *testing.T) {
	region := regexp.MustCompile(`^[a-z0-9-]{2,32}$`)
	headerName := regexp.MustCompile("^[a-z0-9!#$%&'*+.^_`|~-]+$")
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching("[a-z0-9-]{0,34}[!#$%&'*+.^_`|~/:A\u212aé ]{0,2}"),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		if got, want := isRegion(s), region.MatchString(s); got != want {
			t.Fatalf("region %q: %t, want %t", s, got, want)
		}
		if got, want := isHeaderName(s), headerName.MatchString(s); got != want {
			t.Fatalf("header %q: %t, want %t", s, got, want)
		}
		other := rapid.OneOf(rapid.Just(strings.ToUpper(s)), rapid.Just(s), rapid.String()).Draw(t, "other")
		if headerName.MatchString(s) && headerName.MatchString(strings.ToLower(other)) && isLower(s, other) != (s == strings.ToLower(other)) {
			t.Fatalf("%q and %q are not compared as in lower case", s, other)
		}
	})
}

// TestEscapingAndSpacing compares the short cuts with what they cut short.
func TestEscapingAndSpacing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[aZ09._~/-]*[ %é]{0,2}[ a]*`)).Draw(t, "text")
		slash := rapid.Bool().Draw(t, "slash")
		var want strings.Builder
		for i := range len(s) {
			if strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~", s[i]) >= 0 || slash && s[i] == '/' {
				want.WriteByte(s[i])
			} else {
				fmt.Fprintf(&want, "%%%02X", s[i])
			}
		}
		if got := escape(s, slash); got != want.String() {
			t.Fatalf("%q is escaped as %q, want %q", s, got, want.String())
		}
		words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' })
		if got, want := singleSpaces(s), strings.Join(words, " "); got != want {
			t.Fatalf("%q is spaced as %q, want %q", s, got, want)
		}
	})
}

func TestNamesOfSignedHeaders(t *testing.T) {
	for name, want := range signedNames {
		if got := http.CanonicalHeaderKey(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// TestSigningKeysAreKept compares kept keys with derived ones, and counts them.
func TestSigningKeysAreKept(t *testing.T) {
	var keys signingKeys
	for i := range 3 * maxSigningKeys {
		s := scope{date: "20260101", region: fmt.Sprint("region-", i), service: "sqs"}
		secret := fmt.Sprint("SECRET", i%7)
		derived := keys.of(secret, s)
		keys.keep(secret, s, derived)
		keys.keep(secret, s, derived)
		if kept := keys.of(secret, s); string(kept) != string(derived) {
			t.Fatalf("kept %x, derived %x", kept, derived)
		}
		if other := keys.of("other", s); string(other) == string(derived) {
			t.Fatal("two secrets have one key")
		}
		if n := len(keys.kept); n > maxSigningKeys {
			t.Fatalf("%d keys are kept", n)
		}
	}
}
