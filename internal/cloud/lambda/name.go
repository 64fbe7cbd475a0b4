package lambda

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"miniforge/internal/cloud/wire"
)

// Constraints of names. Function names may be given as a name, as the last
// parts of an ARN, or as an ARN, each with a qualifier.
const (
	nameRule      = "FunctionName! 1..256 (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?"
	qualifierRule = "Qualifier 1..128 \\$(LATEST(\\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
	arnRule       = " (arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()"
)

const latest = "$LATEST"

// A name is a function with what was said of its version.
type name struct {
	region, account string
	function        string
	qualifier       string // "" if none was given
}

func (n name) key() string { return n.region + "/" + n.function }

// arn is the function's ARN without a qualifier.
func (n name) arn() string {
	return "arn:aws:lambda:" + n.region + ":" + n.account + ":function:" + n.function
}

func (n name) qualified(qualifier string) string {
	if qualifier == "" {
		return n.arn()
	}
	return n.arn() + ":" + qualifier
}

// full is the ARN as it was asked for.
func (n name) full() string { return n.qualified(n.qualifier) }

// split takes a function's name in any of its forms apart. Parts that are not
// given are "".
func split(text string) (region, function, qualifier string) {
	p := strings.Split(text, ":")
	if p[0] == "arn" && len(p) > 4 {
		region = p[3]
	}
	i := 0
	if len(p) > 1 && len(p[0]) == 12 && isNumber(p[0]) {
		i = 1
	}
	if j := slices.Index(p, "function"); j >= 0 && j+1 < len(p) {
		i = j + 1
	}
	if i+1 < len(p) {
		qualifier = p[i+1]
	}
	return region, p[i], qualifier
}

// lookup reads a function's name and a qualifier that may come with it or apart.
func lookup(ctx context.Context, function, qualifier *string) (name, error) {
	c := wire.CallOf(ctx)
	region, fn, own := split(*function)
	n := name{region: c.Region, account: c.Account, function: fn, qualifier: aws.ToString(qualifier)}
	switch {
	case region != "" && region != c.Region:
		return n, notFound(fmt.Sprintf("Functions from '%s' are not reachable in this region ('%s')", region, c.Region))
	case len(fn) > 64:
		return n, badValue(fmt.Sprintf("1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64", fn))
	case own != "" && n.qualifier != "" && own != n.qualifier:
		return n, badValue("The derived qualifier from the function name does not match the specified qualifier.")
	case own != "":
		n.qualifier = own
	}
	return n, nil
}

func noFunction(arn string) error { return notFound("Function not found: " + arn) }

// asked is the name that a request is judged by, right or wrong.
func asked(c *wire.Call, function, qualifier *string) name {
	_, fn, own := split(aws.ToString(function))
	if q := aws.ToString(qualifier); q != "" {
		own = q
	}
	return name{region: c.Region, account: c.Account, function: fn, qualifier: own}
}

// on is the option that judges an operation on a function.
func on[In any](parts func(*In) (function, qualifier *string)) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string {
		function, qualifier := parts(in)
		return []string{asked(c, function, qualifier).full()}
	})
}
