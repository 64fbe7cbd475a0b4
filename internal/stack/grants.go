package stack

import (
	"maps"
	"slices"

	"miniforge/internal/resource"
)

// A Grant is one thing that a role may do. The role's policy consists of its
// grants and nothing else; what is not granted is denied.
type Grant struct {
	Actions   []string
	Resources []string
	// Via is the service through which the grant uses the stack's key, as the
	// resource is encrypted with it; empty if it is not.
	Via string
}

// policy turns grants into a policy. The key may be used only through the
// services that hold the encrypted resources, never by itself.
func (s *Stack) policy(grants []Grant) resource.Policy {
	var p resource.Policy
	via := map[string]bool{}
	for _, g := range grants {
		p = append(p, resource.Statement{Effect: "Allow", Action: g.Actions, Resource: g.Resources})
		if g.Via != "" {
			via[g.Via+"."+s.Region+".amazonaws.com"] = true
		}
	}
	if len(via) > 0 {
		p = append(p, resource.Statement{
			Sid: "UseKeyThroughServices", Effect: "Allow",
			Action:    []string{"kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey", "kms:Encrypt", "kms:ReEncrypt*"},
			Resource:  []string{s.key.ARN()},
			Condition: resource.Conditions{"StringEquals": {"kms:ViaService": slices.Sorted(maps.Keys(via))}},
		})
	}
	return p
}

func onTable(t *resource.Table, actions ...string) Grant {
	return Grant{Actions: prefixed("dynamodb", actions), Resources: []string{t.ARN}, Via: "dynamodb"}
}

// readsStream is what Lambda's poller needs of the function's role. A stream's
// ARN ends with a time that is not known before the table exists.
func readsStream(t *resource.Table) Grant {
	return Grant{
		Actions:   prefixed("dynamodb", []string{"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"}),
		Resources: []string{t.ARN + "/stream/*"}, Via: "dynamodb",
	}
}

func sendsTo(q *resource.Queue) Grant {
	return Grant{Actions: []string{"sqs:SendMessage"}, Resources: []string{q.ARN}, Via: "sqs"}
}

func publishesTo(t *resource.Topic) Grant {
	return Grant{Actions: []string{"sns:Publish"}, Resources: []string{t.ARN}, Via: "sns"}
}

func putsEventsOn(b *resource.Bus) Grant {
	return Grant{Actions: []string{"events:PutEvents"}, Resources: []string{b.ARN}}
}

func invokes(arns ...string) Grant {
	return Grant{Actions: []string{"lambda:InvokeFunction"}, Resources: arns}
}

func starts(machineARN string) Grant {
	return Grant{Actions: []string{"states:StartExecution"}, Resources: []string{machineARN}}
}

// writesLogs covers the streams of one group. The group itself exists already.
func writesLogs(groupARN string) Grant {
	return Grant{Actions: prefixed("logs", []string{"CreateLogStream", "PutLogEvents"}), Resources: []string{groupARN + ":*"}}
}

// deliversLogs is what Step Functions needs to log at all. These actions know
// no resources, so AWS accepts nothing narrower than "*".
func deliversLogs() Grant {
	return Grant{Actions: prefixed("logs", []string{
		"CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries",
		"PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups",
	}), Resources: []string{"*"}}
}

func prefixed(service string, actions []string) []string {
	out := make([]string, len(actions))
	for i, a := range actions {
		out[i] = service + ":" + a
	}
	return out
}
