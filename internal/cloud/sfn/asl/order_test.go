package asl

import "testing"

// Wildcards and descents over objects select in the order of names: a workflow
// must not depend on chance.
func TestWildcardOrder(t *testing.T) {
	data, err := Decode([]byte(`{"o":{"f":6,"a":1,"e":5,"b":2,"d":4,"c":3},"p":{"o2":{"f":6,"a":1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"$.o.*": `[1,2,3,4,5,6]`, "$..a": `[1,1]`, "$..f": `[6,6]`, "$.o['c','a']": `[3,1]`, "$.o[?(@ > 3)]": `[4,5,6]`,
		"$.*.o2.a": `[1]`, "$.p..*": `[{"a":1,"f":6},1,6]`,
	} {
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(path, err)
		}
		for range 20 {
			v, _ := p.get(&Env{}, data)
			if got := string(Encode(v)); got != want {
				t.Errorf("%s gives %s, want %s", path, got, want)
				break
			}
		}
	}
}
