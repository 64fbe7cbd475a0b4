package pattern

import (
	"errors"
	"strings"
	"testing"
)

// The texts, lines and columns are those that AWS was seen to give.
func TestInvalidPatternsAreRefusedInTheWordsOfAWS(t *testing.T) {
	for _, tc := range []struct {
		source, reason string
		column         int
	}{
		{`["not", "a", "dict", "but valid json"]`, "Filter is not an object", 2},
		{`{"key":"value"}`, `"key" must be an object or an array`, 9},
		{`{"key_a":"value_one"}`, `"key_a" must be an object or an array`, 11},
		{`{"key":{"not-an-operator":"value"}}`, `"not-an-operator" must be an object or an array`, 28},
		{`{"key":{"suffix":"value","prefix":"value"}}`, `"suffix" must be an object or an array`, 19},
		{`{"key":[]}`, "Empty arrays are not allowed", 10},
		{`{"key":[["value"]]}`, "Match value must be String, number, true, false, or null", 10},
		{`{"key":[{"suffix":"value","prefix":"value2"}]}`, "Only one key allowed in match expression", 37},
		{`{"key":[{"wrong-operator":true}]}`, "Unrecognized match type wrong-operator", 31},
		{`{"key":[{"exists":"no"}]}`, "exists match pattern must be either true or false.", 20},
		{`{"key":[{"exists":null}]}`, "exists match pattern must be either true or false.", 23},
		{`{"key":[{"suffix":100}]}`, "suffix match pattern must be a string", 22},
		{`{"key":[{"suffix":["test","test2"]}]}`, "suffix match pattern must be a string", 20},
		{`{"key":[{"suffix":[]}]}`, "suffix match pattern must be a string", 20},
		{`{"key":[{"suffix":null}]}`, "suffix match pattern must be a string", 23},
		{`{"key":[{"anything-but":{"prefix":false}}]}`, "prefix match pattern must be a string", 40},
		{`{"key":[{"anything-but":{"exists":false}}]}`, "Unsupported anything-but pattern: exists", 40},
		{`{"key":[{"anything-but":{"wrong-operator":null}}]}`, "Unsupported anything-but pattern: wrong-operator", 47},
		{`{"key":[{"anything-but":[null]}]}`, "Inside anything but list, start|null|boolean is not supported.", 30},
		{`{"key":[{"anything-but":{"equals-ignore-case":[1]}}]}`, "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.", 49},
		{`{"key":[{"anything-but":true}]}`, "Value of anything-but must be an array or single string/number value.", 29},
		{`{"key":[{"anything-but":{"prefix":""}}]}`, "Null prefix/suffix not allowed", 37},
		{`{"key":[{"cidr":["bad-filter"]}]}`, "prefix match pattern must be a string", 18},
		{`{"key":[{"cidr":"bad-filter"}]}`, "Malformed CIDR, one '/' required", 0},
		{`{"key":[{"cidr":"10.0.0.0/x"}]}`, "Malformed CIDR, mask bits must be an integer", 0},
		{`{"key":[{"cidr":"xx.11.xx/8"}]}`, "Nonstandard IP address: xx.11.xx", 0},
		{`{"key":[{"cidr":"10.0.0.0/33"}]}`, "Malformed CIDR, too many mask bits", 0},
		{`{"key":[{"numeric":"x"}]}`, "Value of numeric must be an array.", 21},
		{`{"key":[{"numeric":[]}]}`, "Invalid member in numeric match: ]", 22},
		{`{"key":[{"numeric":[1,"<="]}]}`, "Invalid member in numeric match: 1", 22},
		{`{"key":[{"numeric":["operator"]}]}`, "Unrecognized numeric range operator: operator", 32},
		{`{"key":[{"numeric":["=","000"]}]}`, "Value of equals must be numeric", 26},
		{`{"key":[{"numeric":[">="]}]}`, "Value of >= must be numeric", 26},
		{`{"key":[{"numeric":[">",20,"<="]}]}`, "Value of <= must be numeric", 33},
		{`{"key":[{"numeric":[">",20,30]}]}`, "Bad value in numeric range: 30", 30},
		{`{"key":[{"numeric":[">=",1,">",2]}]}`, "Bad numeric range operator: >", 31},
		{`{"key":[{"numeric":[">",20,"test"]}]}`, "Bad numeric range operator: test", 34},
		{`{"key":[{"numeric":[">",3,"<",1]}]}`, "Bottom must be less than top", 33},
		{`{"key":[{"numeric":["<",100,">",10]}]}`, "Too many elements in numeric expression", 30},
		{`{"key":[{"numeric":[">",20,"<",30,"<",50]}]}`, "Too many terms in numeric range expression", 36},
		{`{"key":[{"wildcard":"a**b"}]}`, "Consecutive wildcard characters at pos 2", 0},
		{`{"key":[{"wildcard":"a\\b"}]}`, "Invalid escape character at pos 2", 0},
		{`{"key":["a"],"key":["b"]}`, "Path `key` cannot be allowed multiple times", 21},
		{`{"key":{}}`, "Empty objects are not allowed", 10},
		{`{"$or":[{"a":["1"]}]}`, "$or must be an array of at least 2 objects", 21},
		{`{"$or":{"a":["1"]}}`, "$or must be an array of at least 2 objects", 9},
		{`this is valid json but not a dict`, "Unrecognized token 'this': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')", 5},
		{`{"not": closed mark"`, "Unrecognized token 'closed': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')", 15},
		{`{'bad': 'quotation'}`, "Unexpected character (''' (code 39)): was expecting double-quote to start field name", 2},
		{`{"a":["b"]`, "Unexpected end-of-input", 11},
		{``, "Unexpected end-of-input", 1},
		{`{"a":["b"]} {}`, "Unexpected character ('{' (code 123)): was expecting comma to separate Object entries", 13},
	} {
		_, err := Compile(tc.source)
		e, ok := errors.AsType[*InvalidError](err)
		if !ok {
			t.Errorf("%s: %v", tc.source, err)
			continue
		}
		if e.Reason != tc.reason || e.Column != tc.column || tc.column > 0 && e.Line != 1 {
			t.Errorf("%s\n got %d:%d %s\nwant 1:%d %s", tc.source, e.Line, e.Column, e.Reason, tc.column, tc.reason)
		}
	}
}

func TestErrorsQuoteTheirPlace(t *testing.T) {
	_, err := Compile("{\"a\":\n  []}")
	if want := "Event pattern is not valid. Reason: Empty arrays are not allowed\n at [Source: (String)\"{\"a\":\n  []}\"; line: 2, column: 5]"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	_, err = Compile(`{"a":["` + strings.Repeat("x", 600) + `"],"b":[]}`)
	if err == nil || !strings.Contains(err.Error(), `x"[truncated 117 chars]; line: 1`) {
		t.Errorf("%v", err)
	}
	deep := strings.Repeat(`{"a":`, 200) + `["x"]` + strings.Repeat("}", 200)
	if _, err := Compile(deep); err == nil {
		t.Error("a bottomless pattern was taken")
	}
}
