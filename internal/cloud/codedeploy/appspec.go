package codedeploy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// The lifecycle events of a deployment to Lambda, in their order. Functions
// can hook into the first and the last.
const (
	beforeAllowTraffic = "BeforeAllowTraffic"
	allowTraffic       = "AllowTraffic"
	afterAllowTraffic  = "AfterAllowTraffic"
)

var lifecycle = []string{beforeAllowTraffic, allowTraffic, afterAllowTraffic}

// An appSpec is what an AppSpec file says: which alias goes from which version
// to which, and what checks it.
// https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-resources.html
type appSpec struct {
	Function, Alias, Current, Target string
	Hooks                            map[string]string `json:",omitempty"` // event -> function
}

const maxAppSpec = 51200 // bytes

var positive = regexp.MustCompile(`^[1-9][0-9]*$`)

// parseAppSpec reads an AppSpec file in YAML, of which JSON is a part. Its
// errors are for whoever wrote it.
func parseAppSpec(text string) (*appSpec, error) {
	if len(text) > maxAppSpec {
		return nil, fmt.Errorf("the AppSpec file has %d bytes: at most %d are allowed", len(text), maxAppSpec)
	}
	var root any
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		return nil, fmt.Errorf("the AppSpec file is not well-formed YAML or JSON: %s", strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	top, err := members("AppSpec file", root, "version", "resources", "hooks")
	if err != nil {
		return nil, err
	}
	switch v := fmt.Sprint(top["version"]); {
	case top["version"] == nil:
		return nil, fmt.Errorf("the AppSpec file has no version: it must be 0.0")
	case v != "0" && v != "0.0":
		return nil, fmt.Errorf("the AppSpec file has version %s: only 0.0 is supported", v)
	}
	spec, err := parseResource(top["resources"])
	if err != nil {
		return nil, err
	}
	spec.Hooks, err = parseHooks(top["hooks"])
	return spec, err
}

// parseResource reads the one function that a deployment is about.
func parseResource(v any) (*appSpec, error) {
	list, _ := v.([]any)
	if len(list) == 0 {
		return nil, fmt.Errorf("the AppSpec file contains no Resources")
	}
	if len(list) > 1 {
		return nil, fmt.Errorf("the AppSpec file contains %d Resources: exactly one AWS::Lambda::Function is allowed", len(list))
	}
	named, err := asMap("resource", list[0])
	if err != nil || len(named) != 1 {
		return nil, fmt.Errorf("each element of Resources must be one name with its Type and Properties")
	}
	for name, body := range named {
		resource, err := members("resource "+name, body, "type", "properties")
		if err != nil {
			return nil, err
		}
		if resource["type"] != "AWS::Lambda::Function" {
			return nil, fmt.Errorf("the Type of resource %s is %v: it must be AWS::Lambda::Function", name, resource["type"])
		}
		properties, err := members("Properties of resource "+name, resource["properties"], "name", "alias", "currentversion", "targetversion")
		if err != nil {
			return nil, err
		}
		return parseProperties(name, properties)
	}
	return nil, nil // not reached: named has one entry
}

func parseProperties(resource string, p map[string]any) (*appSpec, error) {
	s := &appSpec{}
	for _, want := range []struct {
		name    string
		to      *string
		version bool
	}{{"Name", &s.Function, false}, {"Alias", &s.Alias, false}, {"CurrentVersion", &s.Current, true}, {"TargetVersion", &s.Target, true}} {
		v := scalar(p[strings.ToLower(want.name)])
		switch {
		case v == "":
			return nil, fmt.Errorf("the property %s of resource %s is missing or empty", want.name, resource)
		case want.version && !positive.MatchString(v):
			return nil, fmt.Errorf("the property %s of resource %s must be the number of a published version: %s", want.name, resource, v)
		}
		*want.to = v
	}
	return s, nil
}

// parseHooks reads the functions that check, by lifecycle event.
func parseHooks(v any) (map[string]string, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("hooks must be a list of lifecycle events with their functions")
	}
	hooks := map[string]string{}
	for _, e := range list {
		one, err := asMap("hook", e)
		if err != nil {
			return nil, err
		}
		for event, fn := range one {
			i := slices.IndexFunc([]string{beforeAllowTraffic, afterAllowTraffic}, func(n string) bool { return strings.EqualFold(n, event) })
			switch {
			case i < 0:
				return nil, fmt.Errorf("%s is no lifecycle event that functions can hook into: these are BeforeAllowTraffic and AfterAllowTraffic", event)
			case scalar(fn) == "":
				return nil, fmt.Errorf("the hook %s names no function", event)
			}
			name := []string{beforeAllowTraffic, afterAllowTraffic}[i]
			if hooks[name] != "" {
				return nil, fmt.Errorf("the hook %s is there twice", event)
			}
			hooks[name] = scalar(fn)
		}
	}
	return hooks, nil
}

// asMap is a mapping with its keys as they are written.
func asMap(what string, v any) (map[string]any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the %s must be a mapping", what)
	}
	return m, nil
}

// members is a mapping with its keys in lower case, as they may be written
// either way; keys that are not known are refused.
func members(what string, v any, known ...string) (map[string]any, error) {
	m, err := asMap(what, v)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for k, x := range m {
		low := strings.ToLower(k)
		if _, twice := out[low]; twice || !slices.Contains(known, low) {
			return nil, fmt.Errorf("the %s contains %s, which is unknown or there twice", what, k)
		}
		out[low] = x
	}
	return out, nil
}

// scalar is a string or number as text.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case uint64, int64, int:
		return fmt.Sprint(v)
	}
	return ""
}
