package asl

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
)

// maxText is how long the texts may be that are coded and hashed.
const maxText = 10_000

// A function is an intrinsic function; max < 0 is no bound.
type function struct {
	min, max int
	apply    func(e *Env, args []any) (any, error)
}

var functions = map[string]function{
	"States.Format":         {1, -1, format},
	"States.StringToJson":   {1, 1, stringToJSON},
	"States.JsonToString":   {1, 1, func(_ *Env, a []any) (any, error) { return EncodeToString(a[0]), nil }},
	"States.Array":          {0, -1, func(_ *Env, a []any) (any, error) { return a, nil }},
	"States.ArrayPartition": {2, 2, arrayPartition},
	"States.ArrayContains":  {2, 2, arrayContains},
	"States.ArrayRange":     {3, 3, arrayRange},
	"States.ArrayGetItem":   {2, 2, arrayGetItem},
	"States.ArrayLength":    {1, 1, arrayLength},
	"States.ArrayUnique":    {1, 1, arrayUnique},
	"States.Base64Encode":   {1, 1, base64Encode},
	"States.Base64Decode":   {1, 1, base64Decode},
	"States.Hash":           {2, 2, hashed},
	"States.JsonMerge":      {3, 3, jsonMerge},
	"States.MathRandom":     {2, 3, mathRandom},
	"States.MathAdd":        {2, 2, mathAdd},
	"States.StringSplit":    {2, 2, stringSplit},
	"States.UUID":           {0, 0, func(e *Env, _ []any) (any, error) { return e.UUID(), nil }},
}

func stringToJSON(_ *Env, a []any) (any, error) {
	s, ok := a[0].(string)
	if !ok {
		return nil, fmt.Errorf("the argument must be a string")
	}
	if s == "" {
		return nil, nil
	}
	return Decode(s)
}

func array(v any) ([]any, error) {
	if a, ok := v.([]any); ok {
		return a, nil
	}
	return nil, fmt.Errorf("the first argument must be an array")
}

func whole(v any, what string) (int64, error) {
	i, ok := integer(v)
	if !ok {
		return 0, fmt.Errorf("%s must be an integer", what)
	}
	return i, nil
}

func short(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("the argument must be a string")
	}
	if len(s) > maxText {
		return "", fmt.Errorf("the argument is longer than %d characters", maxText)
	}
	return s, nil
}

func arrayPartition(_ *Env, a []any) (any, error) {
	list, err := array(a[0])
	if err != nil {
		return nil, err
	}
	size, err := whole(a[1], "the chunk size")
	if err != nil || size <= 0 {
		return nil, fmt.Errorf("the chunk size must be a positive integer")
	}
	out := []any{}
	for len(list) > 0 {
		n := min(len(list), int(min(size, int64(len(list)))))
		out, list = append(out, list[:n:n]), list[n:]
	}
	return out, nil
}

func equal(a, b any) bool {
	x, isNumber := float(a)
	y, isNumber2 := float(b)
	if isNumber && isNumber2 {
		return x == y
	}
	return reflect.DeepEqual(a, b)
}

func arrayContains(_ *Env, a []any) (any, error) {
	list, err := array(a[0])
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		if equal(x, a[1]) {
			return true, nil
		}
	}
	return false, nil
}

func arrayRange(_ *Env, a []any) (any, error) {
	var n [3]int64
	for i, what := range []string{"the first value", "the last value", "the increment"} {
		var err error
		if n[i], err = whole(a[i], what); err != nil {
			return nil, err
		}
	}
	first, last, step := n[0], n[1], n[2]
	if step == 0 {
		return nil, fmt.Errorf("the increment must not be zero")
	}
	out := []any{}
	for x := first; step > 0 && x <= last || step < 0 && x >= last; x += step {
		if len(out) == 1000 {
			return nil, fmt.Errorf("the array would have more than 1000 elements")
		}
		out = append(out, x)
	}
	return out, nil
}

func arrayGetItem(_ *Env, a []any) (any, error) {
	list, err := array(a[0])
	if err != nil {
		return nil, err
	}
	i, err := whole(a[1], "the index")
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= int64(len(list)) {
		return nil, fmt.Errorf("the index %d is outside of the array", i)
	}
	return list[i], nil
}

func arrayLength(_ *Env, a []any) (any, error) {
	list, err := array(a[0])
	return int64(len(list)), err
}

func arrayUnique(_ *Env, a []any) (any, error) {
	list, err := array(a[0])
	if err != nil {
		return nil, err
	}
	seen, out := map[string]bool{}, []any{}
	for _, x := range list {
		// Equal values have equal texts: members are written in order.
		if k := EncodeToString(x); !seen[k] {
			seen[k] = true
			out = append(out, x)
		}
	}
	return out, nil
}

func base64Encode(_ *Env, a []any) (any, error) {
	s, err := short(a[0])
	return base64.StdEncoding.EncodeToString([]byte(s)), err
}

func base64Decode(_ *Env, a []any) (any, error) {
	s, err := short(a[0])
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err
}

var hashes = map[string]func() hash.Hash{
	"MD5": md5.New, "SHA-1": sha1.New, "SHA-256": sha256.New, "SHA-384": sha512.New384, "SHA-512": sha512.New,
}

func hashed(_ *Env, a []any) (any, error) {
	s := text(a[0])
	if len(s) > maxText {
		return nil, fmt.Errorf("the data is longer than %d characters", maxText)
	}
	name, _ := a[1].(string)
	make := hashes[name]
	if make == nil {
		return nil, fmt.Errorf("the algorithm must be one of MD5, SHA-1, SHA-256, SHA-384, SHA-512")
	}
	h := make()
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil)), nil
}

func jsonMerge(_ *Env, a []any) (any, error) {
	one, ok1 := a[0].(map[string]any)
	two, ok2 := a[1].(map[string]any)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("the first two arguments must be objects")
	}
	if deep, ok := a[2].(bool); !ok || deep {
		return nil, fmt.Errorf("only the shallow merge is supported: the third argument must be false")
	}
	out := maps.Clone(one)
	maps.Copy(out, two)
	return out, nil
}

func mathRandom(e *Env, a []any) (any, error) {
	from, err := whole(a[0], "the start number")
	if err != nil {
		return nil, err
	}
	to, err := whole(a[1], "the end number")
	if err != nil || to <= from {
		return nil, fmt.Errorf("the end number must be an integer greater than the start number")
	}
	r := e.Random
	if len(a) == 3 {
		seed, err := whole(a[2], "the seed")
		if err != nil {
			return nil, err
		}
		r = rand.New(rand.NewPCG(uint64(seed), 0)).Float64
	}
	return from + int64(r()*float64(to-from)), nil
}

func mathAdd(_ *Env, a []any) (any, error) {
	x, err := whole(a[0], "the first number")
	if err != nil {
		return nil, err
	}
	y, err := whole(a[1], "the second number")
	return x + y, err
}

// stringSplit splits at any of the given characters and drops empty parts, as AWS does.
func stringSplit(_ *Env, a []any) (any, error) {
	s, ok1 := a[0].(string)
	at, ok2 := a[1].(string)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("both arguments must be strings")
	}
	out := []any{}
	for _, p := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(at, r) }) {
		out = append(out, p)
	}
	return out, nil
}
