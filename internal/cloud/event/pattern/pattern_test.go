package pattern

import "testing"

func TestMatch(t *testing.T) {
	for name, tc := range map[string]struct {
		pattern, event string
		want           bool
	}{
		"exact":                      {`{"a":["x","y"]}`, `{"a":"y","b":1}`, true},
		"exact differs":              {`{"a":["x"]}`, `{"a":"z"}`, false},
		"all members must hold":      {`{"a":["x"],"b":["y"]}`, `{"a":"x"}`, false},
		"nested":                     {`{"d":{"e":{"S":["v"]}}}`, `{"d":{"e":{"S":"v"}}}`, true},
		"nested absent":              {`{"d":{"e":["v"]}}`, `{"d":"v"}`, false},
		"array of the event":         {`{"a":["x"]}`, `{"a":["w","x"]}`, true},
		"array of objects":           {`{"a":{"b":["x"]}}`, `{"a":[{"b":"w"},{"b":"x"}]}`, true},
		"number is not its text":     {`{"a":[1]}`, `{"a":"1"}`, false},
		"numbers by value":           {`{"a":[300]}`, `{"a":3.0e2}`, true},
		"null":                       {`{"a":[null]}`, `{"a":null}`, true},
		"null is not absent":         {`{"a":[null]}`, `{}`, false},
		"true":                       {`{"a":[true]}`, `{"a":true}`, true},
		"prefix":                     {`{"a":[{"prefix":"ab"}]}`, `{"a":"abc"}`, true},
		"suffix":                     {`{"a":[{"suffix":"bc"}]}`, `{"a":"abc"}`, true},
		"prefix without case":        {`{"a":[{"prefix":{"equals-ignore-case":"AB"}}]}`, `{"a":"abc"}`, true},
		"equals-ignore-case":         {`{"a":[{"equals-ignore-case":"ABC"}]}`, `{"a":"abc"}`, true},
		"anything-but":               {`{"a":[{"anything-but":["x","y"]}]}`, `{"a":"z"}`, true},
		"anything-but excludes":      {`{"a":[{"anything-but":"x"}]}`, `{"a":"x"}`, false},
		"anything-but needs a value": {`{"a":[{"anything-but":"x"}]}`, `{}`, false},
		"anything-but prefix":        {`{"a":[{"anything-but":{"prefix":"x"}}]}`, `{"a":"xy"}`, false},
		"anything-but wildcards":     {`{"a":[{"anything-but":{"wildcard":["*x","y*"]}}]}`, `{"a":"z"}`, true},
		"numeric range":              {`{"a":[{"numeric":[">",0,"<=",5]}]}`, `{"a":5}`, true},
		"numeric outside":            {`{"a":[{"numeric":[">",0,"<=",5]}]}`, `{"a":5.001}`, false},
		"numeric is not text":        {`{"a":[{"numeric":["=",5]}]}`, `{"a":"5"}`, false},
		"exists":                     {`{"a":[{"exists":true}]}`, `{"a":null}`, true},
		"exists of an object":        {`{"a":[{"exists":true}]}`, `{"a":{"b":1}}`, false},
		"absent":                     {`{"a":[{"exists":false}]}`, `{"b":1}`, true},
		"not absent":                 {`{"a":[{"exists":false}]}`, `{"a":1}`, false},
		"absent in absent parent":    {`{"p":{"a":[{"exists":false}]}}`, `{}`, true},
		"value or absent":            {`{"a":["x",{"exists":false}]}`, `{}`, true},
		"cidr":                       {`{"a":[{"cidr":"10.0.0.0/24"}]}`, `{"a":"10.0.0.255"}`, true},
		"cidr outside":               {`{"a":[{"cidr":"10.0.0.0/24"}]}`, `{"a":"10.0.1.0"}`, false},
		"wildcard":                   {`{"a":[{"wildcard":"a*c*e"}]}`, `{"a":"abcde"}`, true},
		"wildcard must end":          {`{"a":[{"wildcard":"a*c"}]}`, `{"a":"abcd"}`, false},
		"wildcard may be empty":      {`{"a":[{"wildcard":"a*"}]}`, `{"a":"a"}`, true},
		"wildcard parts overlap":     {`{"a":[{"wildcard":"ab*ba"}]}`, `{"a":"aba"}`, false},
		"escaped star":               {`{"a":[{"wildcard":"a\\*"}]}`, `{"a":"ab"}`, false},
		"or":                         {`{"x":["1"],"$or":[{"a":["1"]},{"b":["1"]}]}`, `{"x":"1","b":"1"}`, true},
		"or without any":             {`{"$or":[{"a":["1"]},{"b":["1"]}]}`, `{"c":"1"}`, false},
		"empty array is absent":      {`{"a":[{"exists":false}]}`, `{"a":[]}`, true},
		"nested arrays":              {`{"a":["x"]}`, `{"a":[["w"],["x"]]}`, true},
		"in an empty array":          {`{"a":{"b":[{"exists":false}]}}`, `{"a":[]}`, true},
		"everything":                 {`{}`, `{"a":1}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(tc.pattern)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Match([]byte(tc.event))
			if err != nil || got != tc.want {
				t.Errorf("%s on %s: %v, %v", tc.pattern, tc.event, got, err)
			}
		})
	}
}

func FuzzCompileAndMatch(f *testing.F) {
	f.Add(`{"a":[{"wildcard":"a*c"}],"$or":[{"b":[1]},{"c":[{"anything-but":"x"}]}]}`, `{"a":"abc","b":1.0}`)
	f.Add(`{"a":{"b":[{"numeric":[">",1e3]}]}}`, `{"a":[{"b":5e9}]}`)
	f.Fuzz(func(t *testing.T, source, event string) {
		p, err := Compile(source)
		if err != nil {
			return
		}
		first, err := p.Match([]byte(event))
		if err != nil {
			return
		}
		if again, _ := p.Match([]byte(event)); again != first {
			t.Error("the same event matches once and then not")
		}
	})
}
