package asl

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

func (p *parser) state(name string, v any, at string, depth int) *State {
	if len(name) > maxStateName {
		p.report(codeSchema, at, "State name is longer than %d characters", maxStateName)
	}
	if p.names[name] {
		p.report(codeTwice, at, "Duplicate State name: %s", name)
	}
	p.names[name] = true
	f := p.fields(v, at)
	f.required("Type")
	s := &State{Name: name, Type: f.str("Type"), Comment: f.str("Comment")}
	p.language(f)
	s.inputPath = place{}
	if s.Type != "Fail" {
		s.inputPath, s.outputPath = f.place("InputPath", ParsePath), f.place("OutputPath", ParsePath)
	}
	switch s.Type {
	case "Task":
		p.task(s, f)
	case "Pass":
		s.result, s.hasResult = f.get("Result")
		s.parameters, s.resultPath = f.template("Parameters"), f.place("ResultPath", ParseReference)
		p.next(s, f)
	case "Choice":
		p.choice(s, f)
	case "Wait":
		p.wait(s, f)
	case "Succeed":
	case "Fail":
		p.failure(s, f)
	case "Parallel":
		p.parallel(s, f, depth)
	case "Map":
		p.mapState(s, f, depth)
	case "":
		return s
	default:
		f.wrong("Type", "State type '%s' is not supported", s.Type)
		return s
	}
	f.done()
	return s
}

// next reads Next or End.
func (p *parser) next(s *State, f *fields) {
	s.Next = f.str("Next")
	end := f.boolean("End")
	switch {
	case s.Next != "" && end:
		p.report(codeSchema, f.at, "Only one of the fields [Next, End] is allowed")
	case s.Next == "" && !end:
		p.report(codeSchema, f.at, "One of the fields [Next, End] is required")
	}
}

// effect reads what states have that do something: Task, Parallel, Map.
func (p *parser) effect(s *State, f *fields) {
	s.resultSelector, s.resultPath = f.template("ResultSelector"), f.place("ResultPath", ParseReference)
	for i, r := range f.list("Retry") {
		s.Retry = append(s.Retry, p.retrier(r, i == len(f.m["Retry"].([]any))-1))
	}
	for i, c := range f.list("Catch") {
		s.Catch = append(s.Catch, p.catcher(c, i == len(f.m["Catch"].([]any))-1))
	}
	p.next(s, f)
}

func (p *parser) errors(f *fields, last bool) (names []string) {
	f.required("ErrorEquals")
	v, _ := f.get("ErrorEquals")
	list, _ := v.([]any)
	if len(list) == 0 {
		f.wrong("ErrorEquals", "The list must have at least one error name")
	}
	for _, x := range list {
		s, ok := x.(string)
		if !ok {
			f.wrong("ErrorEquals", "Expected value of type [string]")
		}
		if s == ErrAll && (len(list) > 1 || !last) {
			f.wrong("ErrorEquals", "States.ALL must appear alone and in the last retrier or catcher")
		}
		names = append(names, s)
	}
	return names
}

func (p *parser) retrier(f *fields, last bool) Retrier {
	r := Retrier{Errors: p.errors(f, last)}
	f.str("Comment")
	r.Interval = time.Duration(f.number("IntervalSeconds", 1, 1, maxSeconds, true)) * time.Second
	r.MaxAttempts = int(f.number("MaxAttempts", 3, 0, maxSeconds, true))
	r.Backoff = f.number("BackoffRate", 2, 1, math.MaxFloat64, false)
	r.MaxDelay = time.Duration(f.number("MaxDelaySeconds", 0, 1, 31_622_400, true)) * time.Second
	switch j := f.str("JitterStrategy"); j {
	case "FULL":
		r.FullJitter = true
	case "", "NONE":
	default:
		f.wrong("JitterStrategy", "Value must be one of [FULL, NONE]")
	}
	if r.MaxDelay > 0 && r.MaxDelay <= r.Interval {
		f.wrong("MaxDelaySeconds", "Value must be greater than IntervalSeconds")
	}
	f.done()
	return r
}

func (p *parser) catcher(f *fields, last bool) Catcher {
	f.required("Next")
	c := Catcher{Errors: p.errors(f, last), Next: f.str("Next"), resultPath: f.place("ResultPath", ParseReference)}
	f.str("Comment")
	f.done()
	return c
}

var resourceARN = regexp.MustCompile(`^arn:aws[a-z-]*:(states|lambda):[a-z0-9-]*:([0-9]{12})?:.+`)

func (p *parser) task(s *State, f *fields) {
	f.required("Resource")
	s.Resource = f.str("Resource")
	if _, ok := f.m["Resource"]; ok && !resourceARN.MatchString(s.Resource) {
		f.wrong("Resource", "Value is not a valid resource ARN")
	}
	s.parameters = f.template("Parameters")
	s.timeout = f.amount("TimeoutSeconds", 0, 1, maxSeconds)
	s.heartbeat = f.amount("HeartbeatSeconds", 0, 1, maxSeconds)
	if s.timeout.path == nil && s.heartbeat.path == nil && s.timeout.set && s.heartbeat.set && s.heartbeat.number >= s.timeout.number {
		f.wrong("HeartbeatSeconds", "Value must be smaller than TimeoutSeconds")
	}
	if c, ok := f.get("Credentials"); ok && c != nil {
		f.wrong("Credentials", "Field is not supported")
	}
	p.effect(s, f)
}

func (p *parser) wait(s *State, f *fields) {
	f.exclusive("Seconds", "SecondsPath", "Timestamp", "TimestampPath")
	s.seconds = f.amount("Seconds", 0, 0, maxSeconds)
	s.until, s.untilPath = f.str("Timestamp"), f.path("TimestampPath", ParsePath)
	if _, ok := timestamp(s.until); s.until != "" && !ok {
		f.wrong("Timestamp", "Value is not a valid ISO-8601 extended offset date-time")
	}
	if !s.seconds.set && s.until == "" && s.untilPath == nil {
		p.report(codeSchema, f.at, "One of the fields [Seconds, SecondsPath, Timestamp, TimestampPath] is required")
	}
	p.next(s, f)
}

func (p *parser) failure(s *State, f *fields) {
	f.exclusive("Error", "ErrorPath")
	f.exclusive("Cause", "CausePath")
	s.err, s.cause = f.str("Error"), f.str("Cause")
	for name, to := range map[string]*value{"ErrorPath": &s.errPath, "CausePath": &s.causePath} {
		if v, ok := f.get(name); ok {
			str, _ := v.(string)
			val, err := parseValue(str)
			if err != nil {
				f.wrong(name, "The value for the field '%s' must be a valid JSONPath or a valid intrinsic function call", name)
			}
			*to = val
		}
	}
}

func (p *parser) parallel(s *State, f *fields, depth int) {
	f.required("Branches")
	s.parameters = f.template("Parameters")
	for _, b := range f.list("Branches") {
		s.Branches = append(s.Branches, p.machine(b.m, b.at, depth+1))
	}
	if _, ok := f.m["Branches"]; ok && len(s.Branches) == 0 {
		f.wrong("Branches", "There must be at least one branch")
	}
	p.effect(s, f)
}

func (p *parser) mapState(s *State, f *fields, depth int) {
	f.exclusive("ItemProcessor", "Iterator")
	f.exclusive("ItemSelector", "Parameters")
	field := "ItemProcessor"
	if _, ok := f.m["Iterator"]; ok {
		field = "Iterator"
	}
	if v, ok := f.get(field); ok {
		inner := p.fields(v, f.at+"/"+field)
		config, _ := inner.m["ProcessorConfig"].(map[string]any)
		if mode, ok := config["Mode"]; ok && mode != "INLINE" {
			p.report(codeSchema, inner.at+"/ProcessorConfig/Mode", "The mode %s is not supported here: use INLINE", text(mode))
		}
		s.Processor = p.machine(v, inner.at, depth+1)
	} else {
		p.report(codeSchema, f.at, "These fields are required: [ItemProcessor]")
	}
	s.itemSelector = f.template("ItemSelector")
	if t := f.template("Parameters"); t != nil { // the older name
		s.itemSelector = t
	}
	s.itemsPath = f.path("ItemsPath", ParsePath)
	s.concurrency = f.amount("MaxConcurrency", 0, 0, math.MaxInt32)
	s.tolerated = f.amount("ToleratedFailureCount", 0, 0, math.MaxInt32)
	s.percentage = f.amount("ToleratedFailurePercentage", 0, 0, 100)
	p.effect(s, f)
}

func (p *parser) choice(s *State, f *fields) {
	f.required("Choices")
	for _, c := range f.list("Choices") {
		c.required("Next")
		s.choices = append(s.choices, choice{next: c.str("Next"), rule: p.rule(c, true)})
	}
	if _, ok := f.m["Choices"]; ok && len(s.choices) == 0 {
		f.wrong("Choices", "There must be at least one rule")
	}
	s.fallback = f.str("Default")
}

func (p *parser) rule(f *fields, top bool) (r rule) {
	f.str("Comment")
	if top {
		f.seen["Next"] = true
	}
	defer f.done()
	for name, to := range map[string]*[]rule{"And": &r.and, "Or": &r.or} {
		if _, ok := f.m[name]; !ok {
			continue
		}
		*to = []rule{}
		for _, x := range f.list(name) {
			*to = append(*to, p.rule(x, false))
		}
		if len(*to) == 0 {
			f.wrong(name, "There must be at least one rule")
		}
		return r
	}
	if v, ok := f.get("Not"); ok {
		inner := p.rule(p.fields(v, f.at+"/Not"), false)
		r.not = &inner
		return r
	}
	p.comparison(&r, f)
	return r
}

// comparison reads Variable and exactly one operator.
func (p *parser) comparison(r *rule, f *fields) {
	f.required("Variable")
	if v := f.path("Variable", ParsePath); v != nil {
		r.variable = *v
	}
	found := 0
	for name := range f.m {
		operator, byPath := strings.CutSuffix(name, "Path")
		c, ok := comparisons[operator]
		if !ok || byPath && (c.kind == "presence" || operator == "StringMatches") {
			continue
		}
		found++
		r.operator = operator
		if byPath {
			r.path = f.path(name, ParsePath)
			continue
		}
		r.operand, _ = f.get(name)
		if !operand(c.kind, r.operand) {
			f.wrong(name, "Value is not of the operator's type")
		}
	}
	if found != 1 {
		p.report(codeSchema, f.at, "A rule needs exactly one comparison operator, it has %s", fmt.Sprint(found))
	}
}

func operand(kind string, v any) (ok bool) {
	switch kind {
	case "String":
		_, ok = v.(string)
	case "Numeric":
		_, ok = float(v)
	case "Timestamp":
		_, ok = timestamp(v)
	default:
		_, ok = v.(bool)
	}
	return ok
}
