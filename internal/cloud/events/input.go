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
				return invalid("InputTemplate for target " + *t.Id + " contains invalid placeholder " + m[1] + ".")
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
	return sh.event, nil
}

// at is the JSON of what a path finds in the event; nothing is an empty object.
func at(p, text string) (string, error) {
	v, found, err := find(p, text)
	if err != nil || !found {
		return "{}", err
	}
	return v, nil
}

// find is the JSON of what a path finds.
func find(p, text string) (found string, ok bool, err error) {
	x, err := path(p)
	if err != nil {
		return "", false, err
	}
	if v, ok, simple := walk(x, text); simple {
		return v, ok, nil
	}
	doc, err := pattern.Decode([]byte(text))
	if err != nil {
		return "", false, err
	}
	var v any
	switch all := x.Get(doc); len(all) {
	case 0:
		return "", false, nil
	case 1:
		v = all[0]
	default:
		v = all
	}
	found, err = compact(v)
	return found, true, err
}

// walk goes down a path of plain names. The JSON that it finds is as it came,
// with its members in order; other paths are not simple.
func walk(x jp.Expr, text string) (found string, ok, simple bool) {
	now := json.RawMessage(text)
	for _, f := range x {
		switch f := f.(type) {
		case jp.Root:
		case jp.Child:
			var obj map[string]json.RawMessage
			if json.Unmarshal(now, &obj) != nil {
				return "", false, true
			}
			if now, ok = obj[string(f)]; !ok {
				return "", false, true
			}
		default:
			return "", false, false
		}
	}
	return string(now), true, true
}

var variable = regexp.MustCompile(`<([A-Za-z0-9_.-]+)>`)

// transform fills in a template. Inside quotes a variable becomes text,
// elsewhere JSON; what its path does not find becomes nothing.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
func transform(tr types.InputTransformer, sh shipment) (string, error) {
	values, err := variables(tr, sh)
	if err != nil {
		return "", err
	}
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

// variables are what a template can name, as JSON.
func variables(tr types.InputTransformer, sh shipment) (map[string]string, error) {
	values := map[string]string{}
	for name, p := range tr.InputPathsMap {
		v, found, err := find(p, sh.event)
		if err != nil {
			return nil, err
		}
		if found {
			values[name] = v
		}
	}
	var rest map[string]json.RawMessage
	if err := json.Unmarshal([]byte(sh.event), &rest); err != nil {
		return nil, err
	}
	delete(rest, "detail")
	for name, v := range map[string]any{
		"aws.events.rule-arn": sh.ruleARN, "aws.events.rule-name": sh.rule, "aws.events.event.ingestion-time": sh.sent.UTC().Format(second),
		"aws.events.event.json": json.RawMessage(sh.event), "aws.events.event": rest,
	} {
		text, err := compact(v)
		if err != nil {
			return nil, err
		}
		values[name] = text
	}
	return values, nil
}

// render puts JSON into a template: as it is or, inside quotes, as text.
func render(v string, quoted bool) (string, error) {
	if quoted && !strings.HasPrefix(v, `"`) {
		text, err := compact(v)
		if err != nil {
			return "", err
		}
		v = text
	}
	if quoted {
		v = strings.TrimSuffix(strings.TrimPrefix(v, `"`), `"`)
	}
	return v, nil
}
