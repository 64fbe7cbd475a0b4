package asl

import "maps"

// Steps are the stages that data passes through in one state, as TestState
// shows them. A stage that the state does not have, or did not come to, is nil.
type Steps struct {
	Input, InputPath, Parameters       []byte
	ItemsPath, ItemSelector            []byte
	Result, ResultSelector, ResultPath []byte

	// Of a Map state; nil if not given.
	Concurrency, Tolerated *int
	Percentage             *float64
}

// Inspect takes the stages up to the state's work and, if it has a result,
// those after it. It stops where one fails.
func (s *State) Inspect(e *Env, raw any, result *any) (x Steps) {
	x.Input = Encode(raw)
	in, err := s.inputPath.read(e, raw, "InputPath")
	if err != nil {
		return x
	}
	x.InputPath = Encode(in)
	if s.Type == "Map" && !s.inspectMap(e, in, &x) {
		return x
	}
	if s.parameters != nil {
		v, err := s.parameters.Eval(e, in)
		if err != nil {
			return x
		}
		x.Parameters = Encode(v)
	}
	if result != nil {
		s.inspectResult(e, raw, *result, &x)
	}
	return x
}

func (s *State) inspectMap(e *Env, in any, x *Steps) bool {
	items, err := s.Items(e, in)
	if err != nil {
		return false
	}
	x.ItemsPath = Encode(items)
	if n, err := s.Concurrency(e, in); err == nil && s.concurrency.set {
		x.Concurrency = &n
	}
	if n, err := s.tolerated.eval(e, in, ""); err == nil && s.tolerated.set {
		x.Tolerated = new(int(n))
	}
	if n, err := s.percentage.eval(e, in, ""); err == nil && s.percentage.set {
		x.Percentage = &n
	}
	if s.itemSelector == nil {
		return true
	}
	all := []any{}
	for i, item := range items {
		v, err := s.itemSelector.Eval(e.WithItem(i, item), in)
		if err != nil {
			return false
		}
		all = append(all, v)
	}
	x.ItemSelector = Encode(all)
	return true
}

func (s *State) inspectResult(e *Env, raw, result any, x *Steps) {
	x.Result = Encode(result)
	if s.resultSelector != nil {
		v, err := s.resultSelector.Eval(e, result)
		if err != nil {
			return
		}
		result, x.ResultSelector = v, Encode(v)
	}
	if v, err := s.resultPath.write(raw, result); err == nil {
		x.ResultPath = Encode(v)
	}
}

// WithItem is e with an item of a Map state in its context object.
func (e *Env) WithItem(index int, value any) *Env {
	own := map[string]any{}
	if c, ok := e.context().(map[string]any); ok {
		maps.Copy(own, c)
	}
	own["Map"] = map[string]any{"Item": map[string]any{"Index": int64(index), "Value": value}}
	return &Env{UUID: e.UUID, Random: e.Random, Context: func() any { return own }}
}
