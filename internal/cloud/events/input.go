package events

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/ohler55/ojg/jp"

	"miniforge/internal/cloud/event/pattern"
)

// checkInput refuses paths and templates that no event could be put through.
func checkInput(t types.Target) error {
	if t.Input != nil && !json.Valid([]byte(*t.Input)) {
		return invalid("JSON syntax error in input for target " + *t.Id + ".")
	}
	if t.InputPath != nil {
		if _, err := path(*t.InputPath); err != nil {
			return invalid("Parameter InputPath is not valid. Reason: Invalid JSONPath provided in input path for target " + *t.Id + ".")
		}
	}
	if tr := t.InputTransformer; tr != nil {
		if tr.InputTemplate == nil {
			return invalid("Parameter InputTemplate is not valid. Reason: it is required for target " + *t.Id + ".")
		}
		if len(tr.InputPathsMap) > 100 || len(*tr.InputTemplate) > 8192 {
			return invalid("Parameter InputTransformer is not valid. Reason: at most 100 paths and a template of 8192 characters are allowed.")
		}
		for name, p := range tr.InputPathsMap {
			if _, err := path(p); err != nil || strings.HasPrefix(strings.ToUpper(name), "AWS") {
				return invalid("Invalid InputPathsMap provided for target " + *t.Id + ".")
			}
		}
		for _, m := range variable.FindAllStringSubmatch(*tr.InputTemplate, -1) {
			if _, ok := tr.InputPathsMap[m[1]]; !ok && !strings.HasPrefix(m[1], "aws.events.") {
				return invalid("InputTemplate for target " + *t.Id + " contains placeholder <" + m[1] + "> which is not in the InputPathsMap.")
			}
		}
	}
	return nil
}

func path(text string) (jp.Expr, error) {
	x, err := jp.ParseString(text)
	if err == nil && !strings.HasPrefix(text, "$") {
		return nil, invalid("a path starts with $")
	}
	return x, err
}

// input is what the target gets of the event.
func (s *Service) input(sh shipment) (string, error) {
	t := sh.target
	switch {
	case t.Input != nil:
		return *t.Input, nil
	case t.InputPath != nil:
		return at(*t.InputPath, sh.event)
	case t.InputTransformer != nil:
		return transform(*t.InputTransformer, sh)
	}
	return string(sh.event), nil
}

// at is the JSON of what a path finds in the event; nothing is an empty object.
func at(p string, text json.RawMessage) (string, error) {
	v, found, err := find(p, text)
	if err != nil || !found {
		return "{}", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func find(p string, text json.RawMessage) (any, bool, error) {
	x, err := path(p)
	if err != nil {
		return nil, false, err
	}
	doc, err := pattern.Decode(text)
	if err != nil {
		return nil, false, err
	}
	all := x.Get(doc)
	switch len(all) {
	case 0:
		return nil, false, nil
	case 1:
		return all[0], true, nil
	}
	return all, true, nil
}

var variable = regexp.MustCompile(`<([A-Za-z0-9_.-]+)>`)

// transform fills in a template. Inside quotes a variable becomes text,
// elsewhere JSON; what its path does not find becomes nothing.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
func transform(tr types.InputTransformer, sh shipment) (string, error) {
	values := map[string]any{}
	for name, p := range tr.InputPathsMap {
		v, found, err := find(p, sh.event)
		if err != nil {
			return "", err
		}
		if found {
			values[name] = v
		}
	}
	var doc map[string]any
	if err := json.Unmarshal(sh.event, &doc); err != nil {
		return "", err
	}
	values["aws.events.rule-arn"], values["aws.events.rule-name"] = sh.ruleARN, sh.rule
	values["aws.events.event.ingestion-time"] = sh.sent.UTC().Format(second)
	values["aws.events.event.json"] = sh.event
	rest := map[string]any{}
	for k, v := range doc {
		if k != "detail" {
			rest[k] = v
		}
	}
	values["aws.events.event"] = rest

	template := *tr.InputTemplate
	var b strings.Builder
	last := 0
	for _, m := range variable.FindAllStringSubmatchIndex(template, -1) {
		b.WriteString(template[last:m[0]])
		v, ok := values[template[m[2]:m[3]]]
		last = m[1]
		if !ok {
			continue
		}
		text, err := render(v, strings.Count(strings.ReplaceAll(template[:m[0]], `\"`, ""), `"`)%2 == 1)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	b.WriteString(template[last:])
	return b.String(), nil
}

// render writes a value as JSON or, inside quotes, as escaped text.
func render(v any, quoted bool) (string, error) {
	b, err := json.Marshal(v)
	if err != nil || !quoted {
		return string(b), err
	}
	if _, isText := v.(string); isText {
		return strings.TrimSuffix(strings.TrimPrefix(string(b), `"`), `"`), nil
	}
	b, err = json.Marshal(string(b))
	return strings.TrimSuffix(strings.TrimPrefix(string(b), `"`), `"`), err
}
