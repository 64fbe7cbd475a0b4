package attr

import (
	"cmp"
	"math/big"
	"strconv"
	"strings"

	"miniforge/internal/cloud/wire"
)

// Limits of DynamoDB's numbers: 38 significant digits, magnitudes from 1E-130
// to 9.99...E+125, and zero.
const (
	maxDigits = 38
	maxExp    = 126  // of 0.d1d2... x 10^exp
	minExp    = -129 // 1E-130
)

// A Number is an exact decimal: 0.d1d2d3... x 10^exp. Its digits have no zeros
// at either end, so that equal numbers are equal values; zero has no digits.
type Number struct {
	neg    bool
	digits string
	exp    int
}

var (
	errDigits    = wire.Errorf("ValidationException", "Attempting to store more than 38 significant digits in a Number")
	errOverflow  = wire.Errorf("ValidationException", "Number overflow. Attempting to store a number with magnitude larger than supported range")
	errUnderflow = wire.Errorf("ValidationException", "Number underflow. Attempting to store a number with magnitude smaller than supported range")
)

// ParseNumber reads a number as DynamoDB does: "3", "-17.4E37", "+3", ".123".
func ParseNumber(s string) (Number, error) {
	if n, ok := parsePlain(s); ok {
		return n, nil
	}
	bad := func() (Number, error) {
		if s == "" {
			return Number{}, wire.Errorf("ValidationException", "The parameter cannot be converted to a numeric value")
		}
		return Number{}, wire.Errorf("ValidationException", "The parameter cannot be converted to a numeric value: %s", s)
	}
	n := Number{}
	rest := s
	if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		n.neg = rest[0] == '-'
		rest = rest[1:]
	}
	mantissa, e := rest, 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		mantissa = rest[:i]
		var err error
		// Far beyond any legal exponent its exact value no longer matters.
		if e, err = strconv.Atoi(rest[i+1:]); err != nil {
			if !exponent(rest[i+1:]) {
				return bad()
			}
			e = 1 << 20
			if rest[i+1] == '-' {
				e = -e
			}
		}
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	all := whole + frac
	if all == "" || strings.Trim(all, "0123456789") != "" {
		return bad()
	}
	trimmed := strings.TrimLeft(all, "0")
	n.exp = len(whole) - (len(all) - len(trimmed)) + max(-1<<20, min(1<<20, e))
	n.digits = strings.TrimRight(trimmed, "0")
	return n.checked(errDigits)
}

// parsePlain reads the common case, a short integer, quickly.
func parsePlain(s string) (n Number, ok bool) {
	d := s
	if len(d) > 1 && d[0] == '-' {
		d = d[1:]
		n.neg = true
	}
	if d == "" || len(d) > maxDigits || d[0] == '0' && len(s) > 1 {
		return Number{}, false
	}
	end := 0
	for i := range len(d) {
		if d[i] < '0' || d[i] > '9' {
			return Number{}, false
		}
		if d[i] != '0' {
			end = i + 1
		}
	}
	if end == 0 {
		return Number{}, true
	}
	n.exp, n.digits = len(d), d[:end]
	return n, true
}

func exponent(s string) bool {
	s = strings.TrimLeft(s[:min(1, len(s))], "+-") + s[min(1, len(s)):]
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// checked applies the limits; tooLong is the error for too many digits.
func (n Number) checked(tooLong error) (Number, error) {
	switch {
	case n.digits == "":
		return Number{}, nil
	case len(n.digits) > maxDigits:
		return Number{}, tooLong
	case n.exp > maxExp:
		return Number{}, errOverflow
	case n.exp < minExp:
		return Number{}, errUnderflow
	}
	return n, nil
}

// String is the canonical text: plain decimal digits without useless zeros.
func (n Number) String() string {
	if n.digits == "" {
		return "0"
	}
	var b strings.Builder
	if n.neg {
		b.WriteByte('-')
	}
	switch d := len(n.digits); {
	case n.exp <= 0:
		b.WriteString("0." + strings.Repeat("0", -n.exp) + n.digits)
	case n.exp >= d:
		b.WriteString(n.digits + strings.Repeat("0", n.exp-d))
	default:
		b.WriteString(n.digits[:n.exp] + "." + n.digits[n.exp:])
	}
	return b.String()
}

// Compare is -1, 0 or 1.
func (n Number) Compare(m Number) int {
	if s, t := n.sign(), m.sign(); s != t || s == 0 {
		return cmp.Compare(s, t)
	}
	c := cmp.Compare(n.exp, m.exp)
	if c == 0 {
		c = strings.Compare(n.digits, m.digits)
	}
	if n.neg {
		return -c
	}
	return c
}

func (n Number) sign() int {
	switch {
	case n.digits == "":
		return 0
	case n.neg:
		return -1
	}
	return 1
}

// Negate is -n.
func (n Number) Negate() Number {
	n.neg = !n.neg && n.digits != ""
	return n
}

// Add is the exact sum. A sum that is too large, or needs more than 38 digits,
// is an overflow: DynamoDB says the same of both.
func (n Number) Add(m Number) (Number, error) {
	if n.digits == "" {
		return m, nil
	}
	if m.digits == "" {
		return n, nil
	}
	// Exponents of the last digits; both are shifted to the lower one.
	low := min(n.exp-len(n.digits), m.exp-len(m.digits))
	sum := new(big.Int).Add(n.scaled(low), m.scaled(low))
	text := new(big.Int).Abs(sum).String()
	if sum.Sign() == 0 {
		return Number{}, nil
	}
	return Number{neg: sum.Sign() < 0, digits: strings.TrimRight(text, "0"), exp: len(text) + low}.checked(errOverflow)
}

// scaled is n / 10^low as an integer.
func (n Number) scaled(low int) *big.Int {
	v, _ := new(big.Int).SetString(n.digits, 10) // digits only: cannot fail
	v.Mul(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n.exp-len(n.digits)-low)), nil))
	if n.neg {
		v.Neg(v)
	}
	return v
}

// appendOrdered appends a form of n that sorts bytewise as numbers do: sign,
// exponent, pairs of digits, and an end that sorts before any pair. All but
// the sign is inverted for negative numbers.
func (n Number) appendOrdered(b []byte) []byte {
	if n.digits == "" {
		return append(b, 0x80)
	}
	if n.neg {
		b = append(b, 0x40)
	} else {
		b = append(b, 0xc0)
	}
	from := len(b)
	b = append(b, byte(n.exp-minExp))
	for i := 0; i < len(n.digits); i += 2 {
		pair := (n.digits[i] - '0') * 10
		if i+1 < len(n.digits) {
			pair += n.digits[i+1] - '0'
		}
		b = append(b, pair+1)
	}
	b = append(b, 0)
	if n.neg {
		for i := from; i < len(b); i++ {
			b[i] = ^b[i]
		}
	}
	return b
}
