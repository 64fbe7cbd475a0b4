package asl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Diagnostic is one thing that is wrong with a definition.
type Diagnostic struct {
	Code     string // "SCHEMA_VALIDATION_FAILED"
	Message  string
	Location string // "/States/Charge/Next"
	Warning  bool
}

// String gives the text that an InvalidDefinition error holds.
func (d Diagnostic) String() string {
	return fmt.Sprintf("%s: %s at %s", d.Code, d.Message, d.Location)
}

// The codes of diagnostics.
const (
	codeJSON   = "INVALID_JSON_DESCRIPTION"
	codeSchema = "SCHEMA_VALIDATION_FAILED"
	codeTarget = "MISSING_TRANSITION_TARGET"
	codeNoEnd  = "MISSING_END_STATE"
	codeTwice  = "DUPLICATE_STATE_NAME"
)

const (
	maxStateName = 80
	maxStateDeep = 20 // nested Parallel and Map states
)

// Parse reads and validates a definition. If a diagnostic is an error (not a
// warning), the machine is nil.
func Parse(definition []byte) (*Machine, []Diagnostic) {
	v, err := Decode(definition)
	if err != nil {
		return nil, []Diagnostic{{Code: codeJSON, Message: err.Error(), Location: "/"}}
	}
	p := &parser{names: map[string]bool{}}
	m := p.machine(v, "", 0)
	if slices.ContainsFunc(p.found, func(d Diagnostic) bool { return !d.Warning }) {
		m = nil
	}
	return m, p.found
}

type parser struct {
	found []Diagnostic
	names map[string]bool
}

func (p *parser) report(code, at, format string, args ...any) {
	if at == "" {
		at = "/"
	}
	p.found = append(p.found, Diagnostic{Code: code, Message: fmt.Sprintf(format, args...), Location: at})
}

// fields reads the members of one object of a definition and notices those
// that nobody asked for.
type fields struct {
	p    *parser
	at   string
	m    map[string]any
	seen map[string]bool
}

func (p *parser) fields(v any, at string) *fields {
	m, ok := v.(map[string]any)
	if !ok {
		p.report(codeSchema, at, "Value is not of type object")
	}
	return &fields{p, at, m, map[string]bool{}}
}

func (f *fields) get(name string) (any, bool) {
	f.seen[name] = true
	v, ok := f.m[name]
	return v, ok
}

func (f *fields) wrong(name, format string, args ...any) {
	f.p.report(codeSchema, f.at+"/"+name, format, args...)
}

func (f *fields) required(names ...string) {
	for _, n := range names {
		if _, ok := f.m[n]; !ok {
			f.p.report(codeSchema, f.at, "These fields are required: [%s]", n)
		}
	}
}

// exclusive reports fields that may not stand together.
func (f *fields) exclusive(names ...string) {
	names = slices.DeleteFunc(names, func(n string) bool { _, ok := f.m[n]; return !ok })
	if len(names) > 1 {
		f.p.report(codeSchema, f.at, "Only one of the fields [%s] is allowed", strings.Join(names, ", "))
	}
}

// done reports the fields that no one has read.
func (f *fields) done() {
	for _, k := range slices.Sorted(maps.Keys(f.m)) {
		if !f.seen[k] {
			f.wrong(k, "Field is not supported")
		}
	}
}

func (f *fields) str(name string) string {
	v, ok := f.get(name)
	s, isString := v.(string)
	if ok && !isString {
		f.wrong(name, "Expected value of type [string]")
	}
	return s
}

func (f *fields) boolean(name string) bool {
	v, ok := f.get(name)
	b, isBool := v.(bool)
	if ok && !isBool {
		f.wrong(name, "Expected value of type [boolean]")
	}
	return b
}

// number reads a number from least to most; whole ones only if integer.
func (f *fields) number(name string, absent, least, most float64, integer bool) float64 {
	v, ok := f.get(name)
	if !ok {
		return absent
	}
	n, isNumber := float(v)
	switch {
	case !isNumber || integer && n != float64(int64(n)):
		f.wrong(name, "Expected value of type [Integer]")
	case n < least:
		f.wrong(name, "Value is less than the minimum value of %v", least)
	case n > most:
		f.wrong(name, "Value is greater than the maximum value of %v", most)
	}
	return n
}

// amount reads Name or NamePath.
func (f *fields) amount(name string, absent, least, most float64) amount {
	f.exclusive(name, name+"Path")
	a := amount{number: f.number(name, absent, least, most, true), path: f.path(name+"Path", ParsePath)}
	_, set := f.m[name]
	a.set = set || a.path != nil
	return a
}

func (f *fields) path(name string, parse func(string) (Path, error)) *Path {
	v, ok := f.get(name)
	if !ok {
		return nil
	}
	s, _ := v.(string)
	path, err := parse(s)
	if err != nil {
		f.wrong(name, "Value is not a valid JSONPath or ReferencePath: %s", text(v))
	}
	return &path
}

// place reads a path that may be null.
func (f *fields) place(name string, parse func(string) (Path, error)) place {
	v, ok := f.get(name)
	if !ok || v == nil {
		return place{null: ok}
	}
	path := f.path(name, parse)
	return place{path: *path, set: path.text != "$"}
}

func (f *fields) template(name string) *Template {
	v, ok := f.get(name)
	if !ok {
		return nil
	}
	t := ParseTemplate(v, func(at, message string) { f.wrong(name+at, "%s", message) })
	return &t
}

// list reads an array's elements as objects.
func (f *fields) list(name string) (all []*fields) {
	v, ok := f.get(name)
	a, isArray := v.([]any)
	if ok && !isArray {
		f.wrong(name, "Expected value of type [array]")
	}
	for i, x := range a {
		all = append(all, f.p.fields(x, fmt.Sprintf("%s/%s[%d]", f.at, name, i)))
	}
	return all
}

func (p *parser) machine(v any, at string, depth int) *Machine {
	f := p.fields(v, at)
	f.required("StartAt", "States")
	m := &Machine{Comment: f.str("Comment"), StartAt: f.str("StartAt"), States: map[string]*State{}}
	if depth == 0 {
		f.str("Version")
		m.Timeout = time.Duration(f.number("TimeoutSeconds", 0, 1, maxSeconds, true)) * time.Second
	}
	f.get("ProcessorConfig")
	p.language(f)
	states, _ := f.get("States")
	inner := p.fields(states, at+"/States")
	if depth > maxStateDeep {
		f.wrong("States", "States are nested too deeply")
		return m
	}
	for _, name := range slices.Sorted(maps.Keys(inner.m)) {
		m.States[name] = p.state(name, inner.m[name], at+"/States/"+name, depth)
	}
	f.done()
	p.transitions(m, at)
	return m
}

// language refuses what is not JSONPath.
func (p *parser) language(f *fields) {
	if l := f.str("QueryLanguage"); l != "" && l != "JSONPath" {
		f.wrong("QueryLanguage", "The query language %s is not supported here: use JSONPath", l)
	}
}

// transitions checks that all targets exist and all states can be reached.
func (p *parser) transitions(m *Machine, at string) {
	reached := map[string]bool{}
	check := func(target, place, field string) {
		if target == "" {
			return
		}
		reached[target] = true
		if m.States[target] == nil {
			p.report(codeTarget, at+place, "Missing '%s' target: %s", field, target)
		}
	}
	check(m.StartAt, "/StartAt", "StartAt")
	ends := len(m.States) == 0
	for _, name := range slices.Sorted(maps.Keys(m.States)) {
		s := m.States[name]
		here := "/States/" + name
		ends = ends || s.Next == "" && s.Type != "Choice"
		check(s.Next, here+"/Next", "Next")
		check(s.fallback, here+"/Default", "Default")
		for i, c := range s.choices {
			check(c.next, fmt.Sprintf("%s/Choices[%d]/Next", here, i), "Next")
		}
		for i, c := range s.Catch {
			check(c.Next, fmt.Sprintf("%s/Catch[%d]/Next", here, i), "Next")
		}
	}
	if !ends {
		p.report(codeNoEnd, at+"/States", "There is no state that ends the execution")
	}
	for _, name := range slices.Sorted(maps.Keys(m.States)) {
		if !reached[name] {
			p.report(codeTarget, at+"/States/"+name, "State \"%s\" is not reachable.", name)
		}
	}
}

// SingleState is the name of the state that [ParseState] reads.
const SingleState = "State"

// ParseState reads the definition of a single state, as TestState takes it: the
// states that it leads to need not exist.
func ParseState(definition []byte) (*Machine, []Diagnostic) {
	v, err := Decode(definition)
	if err != nil {
		return nil, []Diagnostic{{Code: codeJSON, Message: err.Error(), Location: "/"}}
	}
	p := &parser{names: map[string]bool{}}
	m := &Machine{StartAt: SingleState, States: map[string]*State{SingleState: p.state(SingleState, v, "", 0)}}
	if len(p.found) > 0 {
		return nil, p.found
	}
	return m, nil
}
