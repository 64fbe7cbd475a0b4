package rollout

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A Template is an AppSpec for Lambda with placeholders for what differs from
// one deployment to the next: ${Name}, ${Alias}, ${CurrentVersion} and
// ${TargetVersion}. An AppSpec deploys exactly one function.
//
// https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-resources.html
type Template string

// Values replace the placeholders.
type Values struct{ Name, Alias, CurrentVersion, TargetVersion string }

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// Render is the AppSpec of one deployment. A placeholder that nobody knows is
// an error, and so is one that is missing: CodeDeploy would deploy something
// else than was asked for.
func (t Template) Render(v Values) (string, error) {
	values := map[string]string{"Name": v.Name, "Alias": v.Alias, "CurrentVersion": v.CurrentVersion, "TargetVersion": v.TargetVersion}
	used := map[string]bool{}
	var errs []error
	text := placeholder.ReplaceAllStringFunc(withoutComments(string(t)), func(p string) string {
		name := p[2 : len(p)-1]
		value, known := values[name]
		if !known {
			errs = append(errs, fmt.Errorf("render appspec.yml: unknown placeholder %s", p))
		}
		used[name] = true
		return value
	})
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !used[name] {
			errs = append(errs, fmt.Errorf("render appspec.yml: it does not use ${%s}", name))
		}
	}
	return text, errors.Join(errs...)
}

// withoutComments drops the lines that are comments: they are for those who
// read the template, and may mention placeholders.
func withoutComments(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool {
		return strings.HasPrefix(strings.TrimSpace(l), "#")
	}), "")
}
