package codedeploy

import "testing"

// FuzzAppSpec: any text is an AppSpec with all that a deployment needs, or is refused.
func FuzzAppSpec(f *testing.F) {
	for _, s := range []string{
		"version: 0.0\nResources:\n- f: {Type: 'AWS::Lambda::Function', Properties: {Name: f, Alias: live, CurrentVersion: 1, TargetVersion: 2}}\nHooks: [{BeforeAllowTraffic: h}, {AfterAllowTraffic: g}]\n",
		`{"version":0.0,"Resources":[{"f":{"Type":"AWS::Lambda::Function","Properties":{"Name":"f","Alias":"a","CurrentVersion":"1","TargetVersion":"2"}}}]}`,
		"version: &a [*a]", "? - : !!binary x", "Resources: [null]", "version: 0.0\nresources: [{1: 2}]", "\xff\x00", "version: .nan", "%YAML 9",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAppSpec(text)
		if err == nil && (a == nil || a.Function == "" || a.Alias == "" || !positive.MatchString(a.Current) || !positive.MatchString(a.Target)) {
			t.Errorf("%+v", a)
		}
	})
}
