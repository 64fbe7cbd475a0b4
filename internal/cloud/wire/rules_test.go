package wire

import (
	"reflect"
	"testing"
)

// The places of broken constraints are written as AWS writes them.
func TestPlacesOfProblems(t *testing.T) {
	type element struct {
		Name *string
		Tags []string
	}
	type group struct{ Elements []element }
	type input struct {
		Name  *string
		Group *group
	}
	o := &operation{api: &API{}, in: reflect.TypeFor[input]()}
	in := &input{Group: &group{Elements: []element{{Name: new("a")}, {Tags: []string{"good", "", "bad"}}}}}
	var problems []Problem
	for _, text := range []string{"Name!", "Group.Elements[].Name! 1..2", "Group.Elements[].Tags[] 1..4"} {
		r := parseRule(o, text)
		r.check(reflect.ValueOf(in).Elem(), r.path, nil, &problems)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	if want := []string{"name", "group.elements.2.member.name"}; !reflect.DeepEqual(got, want) {
		t.Errorf("problems at %q, want %q", got, want)
	}
	in.Group.Elements[1].Tags[2] = "too long"
	r := parseRule(o, "Group.Elements[].Tags[] 1..4")
	problems = nil
	r.check(reflect.ValueOf(in).Elem(), r.path, nil, &problems)
	if len(problems) != 1 || problems[0].Path != "group.elements.2.member.tags.3.member" {
		t.Errorf("problems %+v, want one at the third tag of the second element", problems)
	}
}
