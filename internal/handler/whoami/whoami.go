// Package whoami is how a function is asked as whom it runs, apart from package
// handler: who asks needs nothing of what a function is made of.
package whoami

// Question is the payload that a function answers with its [Answer] instead of
// doing its work. No order, no request of an HTTP API and no record of a stream
// looks like it: only who may invoke the function itself can send it.
const Question = `{"miniforge":"who am I"}`

// An Answer is who a function is to AWS.
type Answer struct {
	ARN string `json:"arn"` // of its session, from sts:GetCallerIdentity
}
