// Package access reads the policies that are in force around a stack and holds
// them against those that the stack declares, by what they mean: the order of
// lists, the grouping into statements, Sids and the ways of writing one and the
// same thing make no difference.
package access

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A Permission is the smallest thing that a policy can say: that one principal
// may, or may not, do one thing to one resource under conditions. A statement
// says as many of them as it has principals, actions and resources.
type Permission struct {
	Effect string // Allow or Deny
	// Principal is "Service sns.amazonaws.com", or "AWS" with an ARN or "*";
	// empty in policies of identities.
	Principal string
	Action    string // as it was written
	Resource  string // an ARN or a pattern of such; empty in trust policies
	// Condition is a normal form: operators, keys and values in order.
	Condition string
	Sid       string // of the statement; part of no comparison
}

// String is the permission as messages name it: "sqs:SendMessage on <queue> for
// Service sns.amazonaws.com if ArnEquals aws:sourcearn <topic>".
func (p Permission) String() string {
	text := p.Action
	if p.Effect != "Allow" {
		text = p.Effect + " " + text
	}
	if p.Resource != "" {
		text += " on " + p.Resource
	}
	if p.Principal != "" {
		text += " for " + p.Principal
	}
	if p.Condition != "" {
		text += " if " + p.Condition
	}
	return text
}

// key is what makes two permissions the same. AWS takes actions in any case,
// and SNS and SQS give their own back in upper case.
func (p Permission) key() Permission {
	p.Action, p.Sid = strings.ToLower(p.Action), ""
	return p
}

// A list is what policies write as a text or a list of texts.
type list []string

func (l *list) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*l = list{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(l))
}

// values are those of a condition, which may be texts, numbers or booleans.
type values []string

func (v *values) UnmarshalJSON(raw []byte) error {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return err
	}
	many, ok := value.([]any)
	if !ok {
		many = append(many, value)
	}
	for _, one := range many {
		*v = append(*v, fmt.Sprint(one))
	}
	return nil
}

// principals are "*", or lists by kind.
type principals []string

var account = regexp.MustCompile(`^\d{12}$`)

func (p *principals) UnmarshalJSON(raw []byte) error {
	var everyone string
	if json.Unmarshal(raw, &everyone) == nil {
		*p = principals{"AWS " + everyone}
		return nil
	}
	var kinds map[string]list
	if err := json.Unmarshal(raw, &kinds); err != nil {
		return err
	}
	for kind, names := range kinds {
		for _, name := range names {
			if kind == "AWS" && account.MatchString(name) {
				name = "arn:aws:iam::" + name + ":root" // what an account's number stands for
			}
			*p = append(*p, kind+" "+name)
		}
	}
	return nil
}

type statement struct {
	Sid                     string
	Effect                  string
	Principal, NotPrincipal principals
	Action, NotAction       list
	Resource, NotResource   list
	Condition               map[string]map[string]values
}

// Parse takes a policy document apart.
func Parse(document string) ([]Permission, error) {
	var d struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(document), &d); err != nil {
		return nil, fmt.Errorf("parse policy: %w", err)
	}
	var statements []statement
	switch {
	case len(d.Statement) == 0:
		return nil, nil
	case d.Statement[0] == '{': // a single one needs no list
		d.Statement = slices.Concat([]byte{'['}, d.Statement, []byte{']'})
	}
	if err := json.Unmarshal(d.Statement, &statements); err != nil {
		return nil, fmt.Errorf("parse statements of policy: %w", err)
	}
	var all []Permission
	for i := range statements {
		all = append(all, statements[i].permissions()...)
	}
	return all, nil
}

// permissions multiplies a statement out. What is said by exception cannot be,
// and stays in one piece.
func (s *statement) permissions() (all []Permission) {
	who := either(s.Principal, "not ", s.NotPrincipal)
	for _, action := range either(s.Action, "all but ", s.NotAction) {
		for _, resource := range either(s.Resource, "all but ", s.NotResource) {
			for _, principal := range who {
				all = append(all, Permission{
					Effect: s.Effect, Principal: principal, Action: action, Resource: resource, Condition: condition(s.Condition), Sid: s.Sid,
				})
			}
		}
	}
	return all
}

// either is the list, or its opposite as a single text, or "" if there is
// neither.
func either[L ~[]string](these L, but string, notThese L) []string {
	switch {
	case len(notThese) > 0:
		return []string{but + strings.Join(slices.Sorted(slices.Values(notThese)), ", ")}
	case len(these) > 0:
		return these
	}
	return []string{""}
}

// condition writes conditions in one way. Keys are the same in any case.
func condition(operators map[string]map[string]values) string {
	var parts []string
	for operator, keys := range operators {
		for key, values := range keys {
			parts = append(parts, operator+" "+strings.ToLower(key)+" "+strings.Join(slices.Sorted(slices.Values(values)), " | "))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " and ")
}

// Compare lists what is declared and not in force, and what is in force and
// not declared, in the order of the documents and each thing once.
func Compare(declared, inForce []Permission) (missing, additional []Permission) {
	without := func(these, those []Permission) (rest []Permission) {
		known := map[Permission]bool{}
		for _, p := range those {
			known[p.key()] = true
		}
		for _, p := range these {
			if !known[p.key()] {
				known[p.key()] = true
				rest = append(rest, p)
			}
		}
		return rest
	}
	return without(declared, inForce), without(inForce, declared)
}

// Texts are the permissions as messages name them.
func Texts(permissions []Permission) []string {
	texts := map[string]bool{}
	for _, p := range permissions {
		texts[p.String()] = true
	}
	return slices.Sorted(maps.Keys(texts))
}
