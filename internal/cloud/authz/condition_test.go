package authz

import (
	"strings"
	"testing"
)

// operatorCases says of each condition operator what holds and what does not.
var operatorCases = []struct {
	operator, key, values string
	request               []string // nil: the key is absent
	want                  bool
}{
	{"StringEquals", "k", `"a"`, []string{"a"}, true},
	{"StringEquals", "k", `"a"`, []string{"A"}, false},
	{"StringEquals", "k", `["a","b"]`, []string{"b"}, true},
	{"StringEquals", "k", `"a*"`, []string{"ab"}, false},
	{"StringEquals", "k", `"a"`, nil, false},
	{"StringEquals", "K", `"a"`, []string{"a"}, true}, // keys in any case
	{"StringNotEquals", "k", `["a","b"]`, []string{"b"}, false},
	{"StringNotEquals", "k", `["a","b"]`, []string{"c"}, true},
	{"StringNotEquals", "k", `"a"`, nil, true},
	{"StringEqualsIgnoreCase", "k", `"a"`, []string{"A"}, true},
	{"StringNotEqualsIgnoreCase", "k", `"a"`, []string{"A"}, false},
	{"StringLike", "k", `"a*c?"`, []string{"abbbcd"}, true},
	{"StringLike", "k", `"a*c?"`, []string{"abbbc"}, false},
	{"StringNotLike", "k", `"a*"`, []string{"b"}, true},
	{"StringNotLike", "k", `"a*"`, nil, true},
	{"StringEqualsIfExists", "k", `"a"`, nil, true},
	{"StringEqualsIfExists", "k", `"a"`, []string{"b"}, false},
	{"NumericEquals", "k", `"10"`, []string{"10.0"}, true},
	{"NumericEquals", "k", `10`, []string{"10"}, true},
	{"NumericNotEquals", "k", `"10"`, []string{"11"}, true},
	{"NumericLessThan", "k", `"10"`, []string{"9.99"}, true},
	{"NumericLessThan", "k", `"10"`, []string{"10"}, false},
	{"NumericLessThanEquals", "k", `"10"`, []string{"10"}, true},
	{"NumericGreaterThan", "k", `"-1"`, []string{"0"}, true},
	{"NumericGreaterThanEquals", "k", `"10"`, []string{"9"}, false},
	{"NumericEquals", "k", `"10"`, []string{"ten"}, false},
	{"NumericLessThan", "k", `"1e9999999999"`, []string{"1"}, false},
	{"DateGreaterThan", "k", `"2026-01-01T00:00:00Z"`, []string{"2026-01-01T00:00:01Z"}, true},
	{"DateLessThan", "k", `"2026-01-01"`, []string{"2025-12-31T23:59:59Z"}, true},
	{"DateEquals", "k", `"1767225600"`, []string{"2026-01-01T00:00:00Z"}, true},
	{"DateNotEquals", "k", `"2026-01-01T00:00:00Z"`, []string{"2026-01-01T00:00:00Z"}, false},
	{"DateLessThanEquals", "k", `"2026-01-01T01:00:00+01:00"`, []string{"2026-01-01T00:00:00Z"}, true},
	{"DateGreaterThanEquals", "k", `"nonsense"`, []string{"2026-01-01T00:00:00Z"}, false},
	{"Bool", "k", `"false"`, []string{"false"}, true},
	{"Bool", "k", `false`, []string{"false"}, true},
	{"Bool", "k", `"True"`, []string{"true"}, true},
	{"Bool", "k", `"false"`, nil, false},
	{"BoolIfExists", "k", `"false"`, nil, true},
	{"BinaryEquals", "k", `"QmlueQ=="`, []string{"QmlueQ=="}, true},
	{"BinaryEquals", "k", `"QmlueQ=="`, []string{"Qmlu"}, false},
	{"IpAddress", "k", `"203.0.113.0/24"`, []string{"203.0.113.9"}, true},
	{"IpAddress", "k", `"203.0.113.0/24"`, []string{"203.0.114.9"}, false},
	{"IpAddress", "k", `["10.0.0.1","2001:db8::/32"]`, []string{"2001:db8::1"}, true},
	{"IpAddress", "k", `"203.0.113.0/24"`, []string{"::ffff:203.0.113.9"}, true},
	{"NotIpAddress", "k", `"203.0.113.0/24"`, []string{"203.0.114.9"}, true},
	{"NotIpAddress", "k", `"203.0.113.0/24"`, nil, true},
	{"ArnEquals", "k", `"arn:aws:sns:*:*:topic"`, []string{"arn:aws:sns:us-east-1:111122223333:topic"}, true},
	{"ArnLike", "k", `"arn:aws:events:us-east-1:111122223333:rule/bus/*"`, []string{"arn:aws:events:us-east-1:111122223333:rule/bus/r"}, true},
	{"ArnLike", "k", `"arn:aws:sns:*:topic"`, []string{"arn:aws:sns:us-east-1:111122223333:topic"}, false}, // a star stays within its part
	{"ArnLike", "k", `"arn:aws:sns:us-*:*:t*"`, []string{"arn:aws:sns:us-east-1:111122223333:topic:with:colons"}, true},
	{"ArnLike", "k", `"*"`, []string{"arn:aws:sns:us-east-1:111122223333:topic"}, true},
	{"ArnNotLike", "k", `"arn:aws:sns:*:*:topic"`, []string{"arn:aws:sns:us-east-1:111122223333:other"}, true},
	{"ArnNotEquals", "k", `"arn:aws:sns:*:*:topic"`, nil, true},
	{"Null", "k", `"true"`, nil, true},
	{"Null", "k", `"true"`, []string{"x"}, false},
	{"Null", "k", `"false"`, []string{"x"}, true},
	{"Null", "k", `false`, nil, false},
	{"ForAllValues:StringEquals", "k", `["a","b"]`, []string{"a", "b"}, true},
	{"ForAllValues:StringEquals", "k", `["a","b"]`, []string{"a", "c"}, false},
	{"ForAllValues:StringEquals", "k", `["a","b"]`, nil, true},
	{"ForAllValues:StringNotEquals", "k", `["a"]`, []string{"b", "a"}, false},
	{"ForAllValues:StringNotEquals", "k", `["a"]`, []string{"b", "c"}, true},
	{"ForAnyValue:StringEquals", "k", `["a","b"]`, []string{"c", "a"}, true},
	{"ForAnyValue:StringEquals", "k", `["a","b"]`, []string{"c"}, false},
	{"ForAnyValue:StringEquals", "k", `["a","b"]`, nil, false},
	{"ForAnyValue:StringNotEquals", "k", `["a"]`, []string{"a", "b"}, true},
	{"ForAnyValue:StringNotEquals", "k", `["a"]`, nil, false},
	{"ForAnyValue:StringLikeIfExists", "k", `["a*"]`, nil, true},
	{"StringEquals", "k", `"${other}"`, []string{"o"}, true},
	{"StringLike", "k", `"${other}*"`, []string{"no"}, false},
	{"StringLike", "k", `"${other}*"`, []string{"old"}, true},
	{"StringEquals", "k", `"${missing}"`, []string{""}, false},
	{"StringNotEquals", "k", `"${missing}"`, []string{"x"}, true}, // nothing equals a variable without a value
	{"StringEquals", "k", `"${missing,'d'}"`, []string{"d"}, true},
	{"StringEquals", "k", `"a${*}${?}${$}"`, []string{"a*?$"}, true},
	{"StringEquals", "k", `"a**"`, []string{"a**"}, true},
	{"StringEquals", "k", `"a**${other}"`, []string{"a**o"}, true},
	{"StringEqualsIgnoreCase", "k", `"A${*}"`, []string{"a*"}, true},
	{"StringLike", "k", `"a${*}"`, []string{"ab"}, false},
	{"StringLike", "k", `"a${?}*"`, []string{"a?b"}, true},
	{"StringEquals", "k", `"$"`, []string{"$"}, true},
	{"StringEquals", "k", `"${open"`, []string{"${open"}, true},
	{"Bool", "k", `"${yes}"`, []string{"true"}, false}, // variables are for strings and ARNs
	{"NumericEquals", "k", `"${ten}"`, []string{"10"}, false},
	{"Null", "k", `"true"`, []string{}, true}, // a key without values is no key
	{"StringEquals", "k", `"a"`, []string{}, false},
	{"StringNotEqualsIfExists", "k", `"a"`, []string{"a"}, false},
	{"StringNotEqualsIfExists", "k", `"a"`, nil, true},
	{"NumericLessThanIfExists", "k", `"1"`, nil, true},
	{"DateLessThanIfExists", "k", `"2026-01-01"`, []string{"2027-01-01"}, false},
	{"IpAddressIfExists", "k", `"10.0.0.0/8"`, nil, true},
	{"IpAddress", "k", `"10.0.0.0/8"`, []string{"no address"}, false},
	{"NotIpAddress", "k", `"10.0.0.0/8"`, []string{"10.1.2.3"}, false},
	{"ArnLikeIfExists", "k", `"arn:aws:sns:*:*:t"`, nil, true},
	{"ArnEquals", "k", `"arn:aws:sns:*:*:t"`, []string{"no arn"}, false},
	{"ForAllValues:ArnLike", "k", `"arn:aws:sns:*:*:t*"`, []string{"arn:aws:sns:e:1:t1", "arn:aws:sns:e:1:t2"}, true},
	{"ForAnyValue:NumericGreaterThan", "k", `5`, []string{"1", "6"}, true},
	{"ForAnyValue:Bool", "k", `"true"`, []string{"false"}, false},
	{"ForAllValues:StringEquals", "k", `"a"`, []string{}, true},
	{"ForAllValues:StringLikeIfExists", "k", `"a*"`, []string{"b"}, false},
	{"BinaryEquals", "k", `"%%%"`, []string{"%%%"}, false},
	{"ArnLike", "k", `"arn:aws:sqs:${other}:*:*"`, []string{"arn:aws:sqs:o:1:q"}, true},
}

func TestConditionOperators(t *testing.T) {
	for _, c := range operatorCases {
		t.Run(c.operator+" "+c.values+" on "+strings.Join(c.request, ","), func(t *testing.T) {
			p := policy(t, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"`+c.operator+`":{"`+c.key+`":`+c.values+`}}}`)
			keys := Keys{"other": {"o"}, "yes": {"true"}, "ten": {"10"}}
			if c.request != nil {
				keys["k"] = c.request
			}
			if got := Evaluate(&Request{Principal: &user, Action: "s3:GetObject", Resource: "*", Context: keys, Identity: []*Policy{p}}).Allowed; got != c.want {
				t.Errorf("holds %t, want %t", got, c.want)
			}
		})
	}
}

func TestAllConditionsMustHold(t *testing.T) {
	p := policy(t, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a":"1","b":"2"},"Bool":{"c":"true"}}}`)
	full := Keys{"a": {"1"}, "b": {"2"}, "c": {"true"}}
	judge := func(k Keys) bool {
		return Evaluate(&Request{Principal: &user, Action: "s3:GetObject", Resource: "*", Context: k, Identity: []*Policy{p}}).Allowed
	}
	if !judge(full) {
		t.Error("all hold, yet denied")
	}
	for k := range full {
		less := Keys{"a": {"1"}, "b": {"2"}, "c": {"true"}}
		delete(less, k)
		if judge(less) {
			t.Errorf("allowed without %s", k)
		}
	}
}
