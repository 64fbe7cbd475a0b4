package access

import (
	"strings"
	"testing"
)

func parse(t *testing.T, statements ...string) []Permission {
	t.Helper()
	all, err := Parse(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const declared = `{"Sid":"One","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root","Service":["a.amazonaws.com"]},` +
	`"Action":["sqs:SendMessage","sqs:ReceiveMessage"],"Resource":"arn:q","Condition":{"Bool":{"aws:SecureTransport":"true"},"ArnEquals":{"aws:SourceArn":["y","x"]}}}`

// TestMeaningCounts: what AWS rewrites says the same as before.
func TestMeaningCounts(t *testing.T) {
	const base = `"Effect":"Allow","Principal":{"Service":"a.amazonaws.com"},"Resource":["arn:q"],"Condition":{"ArnEquals":{"AWS:SourceArn":["x","y"]},"Bool":{"AWS:SecureTransport":true}}`
	same := map[string][]string{
		"by another text": {`{"Effect":"Allow","Principal":{"Service":"a.amazonaws.com","AWS":["123456789012"]},"Action":["SQS:ReceiveMessage","SQS:SendMessage"],` +
			`"Resource":["arn:q"],"Condition":{"ArnEquals":{"AWS:SourceArn":["x","y"]},"Bool":{"AWS:SecureTransport":true}}}`},
		"in several statements": {
			`{"Action":"sqs:SendMessage",` + base + `}`, `{"Action":"sqs:ReceiveMessage",` + base + `}`,
			strings.Replace(declared, `,"Service":["a.amazonaws.com"]`, "", 1),
		},
		"said twice": {declared, declared},
	}
	for name, statements := range same {
		if missing, additional := Compare(parse(t, declared), parse(t, statements...)); len(missing)+len(additional) > 0 {
			t.Errorf("%s: missing %v, additional %v", name, missing, additional)
		}
	}
}

func TestEveryDifferenceCounts(t *testing.T) {
	tests := map[string]struct{ old, new, missing, additional string }{
		"action gone":     {`"sqs:SendMessage",`, ``, "sqs:SendMessage on arn:q for AWS arn:aws:iam::123456789012:root if", ""},
		"action added":    {`["sqs:SendMessage"`, `["*","sqs:SendMessage"`, "", "* on arn:q for Service a.amazonaws.com if"},
		"resource added":  {`"arn:q"`, `["arn:q","*"]`, "", "sqs:SendMessage on * for"},
		"principal added": {`"AWS":"arn:aws:iam::123456789012:root"`, `"AWS":["arn:aws:iam::123456789012:root","*"]`, "", "for AWS *"},
		"everyone":        {`{"AWS":"arn:aws:iam::123456789012:root","Service":["a.amazonaws.com"]}`, `"*"`, "for Service a.amazonaws.com", "for AWS *"},
		"condition wider": {`["y","x"]`, `["y","x","z"]`, "aws:sourcearn x | y", "aws:sourcearn x | y | z"},
		"condition gone":  {`,"ArnEquals":{"aws:SourceArn":["y","x"]}`, ``, "ArnEquals aws:sourcearn", "if Bool aws:securetransport true"},
		"effect":          {`"Allow"`, `"Deny"`, "sqs:SendMessage on", "Deny sqs:SendMessage on"},
		"all actions but": {`"Action":["sqs:SendMessage","sqs:ReceiveMessage"]`, `"NotAction":"sqs:DeleteQueue"`, "sqs:SendMessage on", "all but sqs:DeleteQueue on"},
	}
	for name, tt := range tests {
		changed := strings.Replace(declared, tt.old, tt.new, 1)
		if changed == declared {
			t.Fatalf("%s: nothing was changed", name)
		}
		missing, additional := Compare(parse(t, declared), parse(t, changed))
		for what, got := range map[string]struct {
			permissions []Permission
			want        string
		}{"missing": {missing, tt.missing}, "additional": {additional, tt.additional}} {
			text := strings.Join(Texts(got.permissions), "\n")
			if (got.want == "") != (text == "") || !strings.Contains(text, got.want) {
				t.Errorf("%s: %s: got %q, want %q", name, what, text, got.want)
			}
		}
	}
}

func TestParseTakesWhatPoliciesMayBe(t *testing.T) {
	for _, good := range []string{`{}`, `{"Statement":[]}`, `{"Statement":{"Effect":"Allow","Action":"s3:*"}}`} {
		if _, err := Parse(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{``, `[]`, `{"Statement":1}`, `{"Statement":[{"Action":1}]}`} {
		if all, err := Parse(bad); err == nil {
			t.Errorf("%s: %v and no error", bad, all)
		}
	}
}
