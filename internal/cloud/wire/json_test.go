package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestStringsAgreeWithEncodingJSON compares both ways: what is written of any
// text, and what is read of it.
func TestStringsAgreeWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching("[a<>&\"\\\\\u2028\u2029\ufffdé\x00-\x1f\x7f]*"),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		got := appendString(nil, s)
		if text := bytes.TrimSuffix(want.Bytes(), []byte("\n")); !bytes.Equal(got, text) {
			t.Fatalf("%q is written as %s, want %s", s, got, text)
		}
		d := jsonScanner{b: got}
		if back := string(d.str()); back != s && utf8.ValidString(s) || d.i != len(got) {
			t.Fatalf("%s is read as %q, want %q", got, back, s)
		}
	})
}

// TestDecodingAgreesWithEncodingJSON compares what is read of objects, lists,
// maps, numbers and bytes, however they are spelled.
func TestDecodingAgreesWithEncodingJSON(t *testing.T) {
	type leaf struct {
		Name  *string
		Count int32
		Big   *int64
		On    bool
		Bytes []byte
		Texts map[string]string
	}
	type shape struct {
		Leaf   *leaf
		Leaves []leaf
		ByName map[string]leaf
		Lists  [][]string
		Deep   map[string]map[string]*leaf
	}
	a := &API{}
	rapid.Check(t, func(t *rapid.T) {
		raw, err := json.Marshal(rapid.Make[shape]().Draw(t, "value"))
		if err == nil && rapid.Bool().Draw(t, "spaced") {
			var b bytes.Buffer
			err = json.Indent(&b, raw, "\t", " \r\n")
			raw = b.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		var got, want shape
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		unknown, err := codecFor(a, false).decodeJSON(reflect.ValueOf(&got).Elem(), raw)
		if err != nil || len(unknown) > 0 || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: got %+v, want %+v, unknown %q, %v", raw, got, want, unknown, err)
		}
		again := codecFor(a, false).appendJSON(nil, reflect.ValueOf(got))
		if _, err := codecFor(a, false).decodeJSON(reflect.ValueOf(&got).Elem(), again); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("written as %s, it is read as %+v, want %+v, %v", again, got, want, err)
		}
	})
}

// TestPathsOfMembers has messages name the place as callers know it.
func TestPathsOfMembers(t *testing.T) {
	type input struct {
		Items []map[string]struct{ Count int32 }
	}
	c := codecFor(&API{}, false)
	for body, want := range map[string]string{
		`{"Items":[{},{"a.b":{"Count":true}}]}`: "Items[1].a.b.Count: expected int32",
		`{"Items":[[]]}`:                        "Items[0]: expected map",
		`{"Items":[{"é":{"Count":1e99}}]}`:      "Items[0].é.Count: 1e99 is out of range",
		`[]`:                                    ": expected struct",
		strings.Repeat(`{"Other":`, 200) + `1` + strings.Repeat(`}`, 200): "",
	} {
		var in input
		unknown, err := c.decodeJSON(reflect.ValueOf(&in).Elem(), []byte(body))
		if got := fmt.Sprint(err); want != "" && got != want || want == "" && (err != nil || !slices.Equal(unknown, []string{"Other"})) {
			t.Errorf("%.40s: got %v, unknown %q, want %q", body, err, unknown, want)
		}
	}
}
