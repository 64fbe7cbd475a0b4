// Package asl holds the workflow that fulfils orders, in the Amazon States
// Language (https://states-language.net/spec.html).
//
// What may go wrong, and why each path ends in one terminal state:
//
//   - One execution works on an order. Claim writes its ARN on the order; every
//     later write names it. A duplicate event ends in Duplicate.
//   - Each write is conditional and may be repeated. Where a condition fails,
//     an earlier try of the same state has succeeded and its answer was lost.
//   - MarkConfirmed and GiveUp exclude each other: the first asks that there is
//     no failure, the second that the order is not confirmed. Whichever is
//     written first decides, so a confirmed order is never refunded, and a
//     refunded one never confirmed.
//   - Refund bars the charge before it looks for one. An attempt that timed out
//     and is still running somewhere cannot charge afterwards.
//   - The forward path retries what is transient. The compensation and what
//     follows the confirmation retry everything, for a long time; if that does
//     not help, the order goes to the dead-letter queue as it is.
package asl

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed fulfilment.asl.json
var fulfilment string

// Placeholders lists what Render must be given a value for.
func Placeholders() []string {
	return []string{
		"OrdersTable", "InventoryTable", // names
		"InventoryCheckerArn", "PaymentProcessorArn", // of the alias
		"NotificationTopicArn", "DeadLetterQueueUrl",
	}
}

// Render is the definition of the workflow with every ${name} replaced by its
// value. A placeholder without a value, or a value without a placeholder, is an
// error: either would only be noticed in an order's execution.
func Render(values map[string]string) (string, error) {
	pairs := make([]string, 0, 2*len(values))
	for _, name := range Placeholders() {
		value := values[name]
		if value == "" {
			return "", fmt.Errorf("render workflow: no value for ${%s}", name)
		}
		if strings.ContainsAny(value, "\"\\${}\n") {
			return "", fmt.Errorf("render workflow: value %q for ${%s} would break the definition", value, name)
		}
		pairs = append(pairs, "${"+name+"}", value)
	}
	for name := range values {
		if !slices.Contains(Placeholders(), name) {
			return "", fmt.Errorf("render workflow: there is no placeholder ${%s}", name)
		}
	}
	text := strings.NewReplacer(pairs...).Replace(fulfilment)
	if at := strings.Index(text, "${"); at >= 0 {
		return "", fmt.Errorf("render workflow: unknown placeholder at %.40q", text[at:])
	}
	return text, nil
}
