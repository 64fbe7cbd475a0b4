package asl

import (
	"math"
	"time"
)

// Input is the effective input of a state: what InputPath selects, rendered by
// Parameters (but for a Map, whose ItemSelector works on each item).
func (s *State) Input(e *Env, raw any) (any, error) {
	v, err := s.inputPath.read(e, raw, "InputPath")
	if err != nil || s.parameters == nil {
		return v, err
	}
	return s.parameters.Eval(e, v)
}

// Selected is what InputPath selects: the data that a Choice, Wait, Fail or Map
// state and the paths of a Task's time-outs look at.
func (s *State) Selected(e *Env, raw any) (any, error) { return s.inputPath.read(e, raw, "InputPath") }

// Output makes the output of a state from its raw input and its result, by
// ResultSelector, ResultPath and OutputPath.
func (s *State) Output(e *Env, raw, result any) (any, error) {
	if s.resultSelector != nil {
		var err error
		if result, err = s.resultSelector.Eval(e, result); err != nil {
			return nil, err
		}
	}
	v, err := s.resultPath.write(raw, result)
	if err != nil {
		return nil, err
	}
	return s.outputPath.read(e, v, "OutputPath")
}

// Keeps tells whether the output of a state is its raw input, whatever its result.
func (s *State) Keeps() bool {
	if s.outputPath.set || s.outputPath.null {
		return false
	}
	switch s.Type {
	case "Choice", "Wait", "Succeed":
		return !s.inputPath.set && !s.inputPath.null
	}
	return s.resultPath.null
}

// Pass is the result of a Pass state with the given effective input.
func (s *State) Pass(input any) any {
	if s.hasResult {
		return s.result
	}
	return input
}

// Caught makes the output of a state whose error the catcher takes.
func (c *Catcher) Caught(raw any, err *Error) (any, error) {
	return c.resultPath.write(raw, map[string]any{"Error": err.Name, "Cause": err.Cause})
}

// Choose returns the state that a Choice state leads to.
func (s *State) Choose(e *Env, data any) (next string, err error) {
	for i := range s.choices {
		ok, err := s.choices[i].rule.test(e, data)
		if err != nil {
			return "", err
		}
		if ok {
			return s.choices[i].next, nil
		}
	}
	if s.fallback == "" {
		return "", fail(ErrNoChoice, "No choice rule matched and there is no Default")
	}
	return s.fallback, nil
}

// WaitUntil is when a Wait state that was entered at now ends.
func (s *State) WaitUntil(e *Env, data any, now time.Time) (time.Time, error) {
	if s.seconds.set {
		n, err := s.seconds.eval(e, data, "SecondsPath")
		if err != nil {
			return now, err
		}
		if n < 0 || n > maxSeconds || n != math.Trunc(n) {
			return now, fail(ErrRuntime, "The SecondsPath parameter must be an integer between 0 and %d", maxSeconds)
		}
		return now.Add(time.Duration(n) * time.Second), nil
	}
	var v any = s.until
	if s.untilPath != nil {
		var err error
		if v, err = s.untilPath.eval(e, data, "TimestampPath"); err != nil {
			return now, err
		}
	}
	t, ok := timestamp(v)
	if !ok {
		return now, fail(ErrRuntime, "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: %s", text(v))
	}
	return t, nil
}

// Failure is the error that a Fail state ends with.
func (s *State) Failure(e *Env, data any) (*Error, error) {
	f := &Error{Name: s.err, Cause: s.cause}
	for _, x := range []struct {
		from  value
		field string
		to    *string
	}{{s.errPath, "ErrorPath", &f.Name}, {s.causePath, "CausePath", &f.Cause}} {
		if x.from == nil {
			continue
		}
		v, err := x.from.eval(e, data, x.field)
		if err != nil {
			return nil, err
		}
		str, ok := v.(string)
		if !ok {
			return nil, fail(ErrRuntime, "The value of the field '%s' must be a string", x.field)
		}
		*x.to = str
	}
	return f, nil
}

// Timeout is the time that a task has, or 0 if there is no limit.
func (s *State) Timeout(e *Env, data any) (time.Duration, error) {
	return s.timeout.duration(e, data, "TimeoutSecondsPath")
}

// Heartbeat is the longest time between two heartbeats, or 0 if there is no limit.
func (s *State) Heartbeat(e *Env, data any) (time.Duration, error) {
	return s.heartbeat.duration(e, data, "HeartbeatSecondsPath")
}

// Items are the items that a Map state works on.
func (s *State) Items(e *Env, data any) ([]any, error) {
	v := data
	if s.itemsPath != nil {
		var err error
		if v, err = s.itemsPath.eval(e, data, "ItemsPath"); err != nil {
			return nil, err
		}
	}
	a, ok := v.([]any)
	if !ok {
		return nil, fail(ErrRuntime, "Reference path \"%s\" must point to array.", s.itemsText())
	}
	return a, nil
}

func (s *State) itemsText() string {
	if s.itemsPath == nil {
		return "$"
	}
	return s.itemsPath.text
}

// ItemInput is the input of one iteration of a Map state; e's context object
// has Map.Item.
func (s *State) ItemInput(e *Env, data, item any) (any, error) {
	if s.itemSelector == nil {
		return item, nil
	}
	return s.itemSelector.Eval(e, data)
}

// Concurrency is how many iterations of a Map state run at a time; 0 means all.
func (s *State) Concurrency(e *Env, data any) (int, error) {
	n, err := s.concurrency.eval(e, data, "MaxConcurrencyPath")
	if err == nil && (n < 0 || n > math.MaxInt32 || n != math.Trunc(n)) {
		return 0, fail(ErrRuntime, "The MaxConcurrencyPath field must be a non-negative integer")
	}
	return int(n), err
}

// Tolerates tells whether a Map state goes on after so many failed iterations of all.
func (s *State) Tolerates(e *Env, data any, failed, all int) (bool, error) {
	count, err := s.tolerated.eval(e, data, "ToleratedFailureCountPath")
	if err != nil {
		return false, err
	}
	percent, err := s.percentage.eval(e, data, "ToleratedFailurePercentagePath")
	if err != nil {
		return false, err
	}
	byCount := float64(failed) <= count
	byPercent := float64(failed)*100 <= percent*float64(all)
	switch {
	case s.tolerated.set && s.percentage.set:
		return byCount && byPercent, nil // either limit alone ends the Map
	case s.percentage.set:
		return byPercent, nil
	}
	return byCount, nil
}

// HasTolerance tells whether a Map state tolerates failures at all: then its
// failure is States.ExceedToleratedFailureThreshold, not that of an iteration.
func (s *State) HasTolerance() bool { return s.tolerated.set || s.percentage.set }

func (p place) read(e *Env, data any, field string) (any, error) {
	switch {
	case p.null:
		return map[string]any{}, nil
	case !p.set:
		return data, nil
	}
	v, ok := p.path.get(e, data)
	if !ok {
		return nil, fail(ErrRuntime, "Invalid path '%s' : The %s of the state references a value that does not exist in '%s'", p.path.text, field, Encode(data))
	}
	return v, nil
}

func (p place) write(raw, result any) (any, error) {
	switch {
	case p.null:
		return raw, nil
	case !p.set:
		return result, nil
	}
	v, err := p.path.set(raw, result)
	if err != nil {
		return nil, fail(ErrResultPath, "Unable to apply ReferencePath %s to input %s", p.path.text, Encode(raw))
	}
	return v, nil
}

func (a amount) eval(e *Env, data any, field string) (float64, error) {
	if a.path == nil {
		return a.number, nil
	}
	v, err := a.path.eval(e, data, field)
	if err != nil {
		return 0, err
	}
	n, ok := float(v)
	if !ok {
		return 0, fail(ErrRuntime, "The value of the field '%s' must be a number", field)
	}
	return n, nil
}

func (a amount) duration(e *Env, data any, field string) (time.Duration, error) {
	n, err := a.eval(e, data, field)
	if err == nil && a.set && (n <= 0 || n > maxSeconds) {
		return 0, fail(ErrRuntime, "The value of the field '%s' must be a positive integer", field)
	}
	return time.Duration(n * float64(time.Second)), err
}
