package resource

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Policy is an IAM policy document (identity, resource, key or trust).
type Policy []Statement

// A Statement is one statement of a policy.
type Statement struct {
	Sid       string     `json:"Sid,omitempty"`
	Effect    string     `json:"Effect"`
	Principal any        `json:"Principal,omitempty"` // "*" or map[string]string
	Action    []string   `json:"Action"`
	Resource  []string   `json:"Resource,omitempty"`
	Condition Conditions `json:"Condition,omitempty"`
}

// Conditions maps operator to key to values.
type Conditions map[string]map[string][]string

// Service is the Principal of an AWS service: "sns.amazonaws.com".
func Service(name string) map[string]string { return map[string]string{"Service": name} }

// String is the document as JSON. The order of statements is kept and that of
// maps is fixed, so equal policies have equal texts.
func (p Policy) String() string {
	raw, err := json.Marshal(struct {
		Version   string
		Statement []Statement
	}{"2012-10-17", p})
	if err != nil {
		// Strings, slices and maps of strings always marshal; a Principal of
		// another kind is a mistake in the program.
		panic(fmt.Sprintf("marshal policy: %v", err))
	}
	return string(raw)
}

// Trust is the trust policy that lets one AWS service assume a role, narrowed
// by conditions where the service is documented to send their keys.
func Trust(service string, narrowed Conditions) Policy {
	return Policy{{
		Effect: "Allow", Principal: Service(service), Action: []string{"sts:AssumeRole"}, Condition: narrowed,
	}}
}

// canonical gives JSON texts of one meaning one form: keys in order, a list of
// one element as that element, lists of strings sorted, scalars as strings.
// IAM treats all of these as equal, and services give back another form than
// they were given. What is no JSON is returned as it is.
func canonical(text string) string {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return text
	}
	raw, err := json.Marshal(normal(v))
	if err != nil {
		return text
	}
	return string(raw)
}

func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
	case []any:
		if len(v) == 1 {
			return normal(v[0])
		}
		texts := make([]string, 0, len(v))
		for i := range v {
			v[i] = normal(v[i])
			if s, ok := v[i].(string); ok {
				texts = append(texts, s)
			}
		}
		if len(texts) == len(v) {
			slices.Sort(texts)
			return texts
		}
	case bool, json.Number:
		return fmt.Sprint(v)
	}
	return v
}
