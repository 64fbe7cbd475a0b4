package codepipeline

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	cbtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
)

// reference is a variable in a configuration: "#{namespace.key}".
// https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-variables.html
var reference = regexp.MustCompile(`#\{([^{}]*)\}`)

// Namespaces that no action can have.
const (
	pipelineSpace     = "codepipeline"
	executionVariable = "PipelineExecutionId"
	variableSpace     = "variables"
)

// variable finds the value of one reference.
func (x *execution) variable(ref string) (string, bool) {
	space, name, _ := strings.Cut(ref, ".")
	switch space {
	case pipelineSpace:
		return x.ID, name == executionVariable
	case variableSpace:
		for _, v := range x.Vars {
			if *v.Name == name {
				return *v.ResolvedValue, true
			}
		}
		return "", false
	}
	for r := range x.succeeded {
		if r.Namespace == space {
			v, ok := r.Vars[name]
			return v, ok
		}
	}
	return "", false
}

// replace puts values in the place of references.
func (x *execution) replace(text string) (string, error) {
	var missing string
	done := reference.ReplaceAllStringFunc(text, func(m string) string {
		ref := m[2 : len(m)-1]
		v, ok := x.variable(ref)
		if !ok {
			missing = ref
		}
		return v
	})
	if missing != "" {
		return "", fmt.Errorf("the variable #{%s} could not be resolved: no action that ran before has set it", missing)
	}
	return done, nil
}

// environmentKey holds JSON: references in it are replaced inside of its
// texts, so that no value can break it.
const environmentKey = "EnvironmentVariables"

// resolve makes a configuration's values.
func (x *execution) resolve(config map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(config))
	for name, v := range config {
		var err error
		if name == environmentKey {
			v, err = x.resolveEnvironment(v)
		} else {
			v, err = x.replace(v)
		}
		if err != nil {
			return nil, fmt.Errorf("action configuration %s: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}

// An envVar is an element of a CodeBuild action's EnvironmentVariables.
type envVar struct {
	Name  string                          `json:"name"`
	Value string                          `json:"value"`
	Type  cbtypes.EnvironmentVariableType `json:"type,omitempty"`
}

func parseEnvironment(text string) (vars []envVar, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &vars); err != nil {
		return nil, fmt.Errorf("EnvironmentVariables must be a JSON array of name, value and type: %w", err)
	}
	return vars, nil
}

func (x *execution) resolveEnvironment(text string) (string, error) {
	vars, err := parseEnvironment(text)
	if err != nil {
		return "", err
	}
	for i := range vars {
		if vars[i].Value, err = x.replace(vars[i].Value); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(vars)
	return string(b), err
}
