package wire

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A rule is one parsed line of [Members].
type rule struct {
	path     []step
	required bool
	ranged   bool
	min, max float64
	pattern  matcher
	source   string // of the pattern
	enum     []string
}

// A step is one member on the way to the one that a rule is about.
type step struct {
	field int
	wire  string
	each  bool // the rule is about each element
}

var rangeText = regexp.MustCompile(`^(-?\d*)\.\.(-?\d*)$`)

func parseRule(o *operation, text string) rule {
	fields := strings.SplitN(text, " ", 3)
	name, required := strings.CutSuffix(fields[0], "!")
	r := rule{required: required, min: math.Inf(-1), max: math.Inf(1)}
	t := o.in
	for part := range strings.SplitSeq(name, ".") {
		part, each := strings.CutSuffix(part, "[]")
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		f, ok := t.FieldByName(part)
		if !ok || each && f.Type.Kind() != reflect.Slice {
			panic(fmt.Sprintf("wire: rule %q of %s: no member %s", text, o.name, part))
		}
		r.path = append(r.path, step{f.Index[0], codecFor(o.api, false).wireName(t, part), each})
		if t = f.Type; each {
			t = t.Elem()
		}
	}
	for i, rest := range fields[1:] {
		if m := rangeText.FindStringSubmatch(rest); m != nil && i == 0 {
			r.ranged = true
			if m[1] != "" {
				r.min, _ = strconv.ParseFloat(m[1], 64)
			}
			if m[2] != "" {
				r.max, _ = strconv.ParseFloat(m[2], 64)
			}
			continue
		}
		if i == 0 {
			rest = strings.Join(fields[1:], " ")
		}
		if isEnum(rest) {
			r.enum = strings.Split(rest, "|")
		} else {
			r.source, r.pattern = rest, compile(rest)
		}
		break
	}
	return r
}

var enumText = regexp.MustCompile(`^[A-Za-z0-9_.:-]+(\|[A-Za-z0-9_.:-]+)*$`)

// isEnum tells alternatives of plain words from a pattern.
func isEnum(s string) bool { return enumText.MatchString(s) }

// validate checks an input against the operation's rules.
func (o *operation) validate(in any) error {
	var problems []Problem
	rules, v := o.rules(), reflect.ValueOf(in).Elem()
	for i := range rules {
		rules[i].check(v, rules[i].path, nil, &problems)
	}
	if len(problems) == 0 {
		return nil
	}
	if o.api.Invalid != nil {
		return o.api.Invalid(o.name, problems)
	}
	return Errorf("ValidationException", "%s", ProblemText(problems))
}

// ProblemText is AWS's standard text for broken constraints.
func ProblemText(problems []Problem) string {
	s := ""
	if len(problems) > 1 {
		s = "s"
	}
	texts := make([]string, len(problems))
	for i, p := range problems {
		value := "null"
		if !p.Missing {
			value = "'" + p.Value + "'"
		}
		texts[i] = fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", value, p.Path, p.Text)
	}
	return fmt.Sprintf("%d validation error%s detected: %s", len(problems), s, strings.Join(texts, "; "))
}

// A place is where in an input a member is. Its text is only made of one with a
// problem: most requests have none.
type place struct {
	parent *place
	member string
	number int // of the element, from 1; 0 if it is none
}

func (p *place) String() string {
	text := lowerFirst(p.member)
	if p.parent != nil {
		text = p.parent.String() + "." + text
	}
	if p.number > 0 {
		text += "." + strconv.Itoa(p.number) + ".member"
	}
	return text
}

func (r *rule) check(v reflect.Value, path []step, parent *place, out *[]Problem) {
	st := path[0]
	v = v.Field(st.field)
	at := place{parent: parent, member: st.wire}
	if !st.each {
		r.member(v, path[1:], &at, out)
		return
	}
	for i := range v.Len() {
		at.number = i + 1
		r.member(v.Index(i), path[1:], &at, out)
	}
}

func (r *rule) member(v reflect.Value, rest []step, at *place, out *[]Problem) {
	missing := missing(v)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	switch {
	case len(rest) > 0 && missing:
		return // an absent parent has no members to check
	case len(rest) > 0:
		r.check(v, rest, at, out)
	case missing && r.required:
		*out = append(*out, Problem{Path: at.String(), Value: "null", Missing: true, Text: "Member must not be null"})
	case !missing:
		if text := r.violation(v); text != "" {
			*out = append(*out, Problem{Path: at.String(), Value: show(v), Text: text})
		}
	}
}

func missing(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return v.IsNil()
	case reflect.String: // an enum that is no pointer
		return v.Len() == 0
	}
	return false
}

func (r *rule) violation(v reflect.Value) string {
	if r.enum != nil && v.Kind() == reflect.String {
		for _, e := range r.enum {
			if e == v.String() {
				return ""
			}
		}
		return "Member must satisfy enum value set: [" + strings.Join(r.enum, ", ") + "]"
	}
	if r.ranged {
		if text := r.outside(v); text != "" {
			return text
		}
	}
	if r.pattern != nil && v.Kind() == reflect.String && !r.pattern.MatchString(v.String()) {
		return "Member must satisfy regular expression pattern: " + r.source
	}
	return ""
}

func (r *rule) outside(v reflect.Value) string {
	var n float64
	what := "length "
	switch {
	case v.Kind() == reflect.String:
		s := v.String()
		if float64(len(s)) <= r.max && float64(len(s)) >= r.min*utf8.UTFMax {
			return "" // however many characters these bytes are
		}
		n = float64(utf8.RuneCountInString(s))
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
		n = float64(v.Len())
	case v.CanInt():
		n, what = float64(v.Int()), "value "
	case v.CanFloat():
		n, what = v.Float(), "value "
	default:
		return ""
	}
	switch {
	case n < r.min:
		return "Member must have " + what + "greater than or equal to " + strconv.FormatFloat(r.min, 'f', -1, 64)
	case n > r.max:
		return "Member must have " + what + "less than or equal to " + strconv.FormatFloat(r.max, 'f', -1, 64)
	}
	return ""
}

func show(v reflect.Value) string {
	if t, ok := reflect.TypeAssert[time.Time](v); ok {
		return isoTime(t)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Struct:
		return "[" + strings.Trim(fmt.Sprint(v.Interface()), "[]") + "]"
	}
	return fmt.Sprint(v.Interface())
}
