package stack

import (
	"maps"
	"slices"
	"strings"

	"miniforge/internal/resource"
)

// A Grant is one thing that a role may do. The role's policy consists of its
// grants and nothing else; what is not granted is denied.
type Grant struct {
	Actions   []string
	Resources []string
	// Key is how the grant uses the stack's key, as the resource is encrypted
	// with it. The zero value: not at all.
	Key KeyUse
}

// A KeyUse is what a service asks of the key in the name of who calls it.
type KeyUse struct {
	Service string // "dynamodb"
	Actions []string
	// Tables narrow it to the tables of these names.
	Tables []string
}

// policy turns grants into a policy, one statement for each. The key may be
// used only through the services that hold the encrypted resources, never by
// itself: a statement for each of them says for what.
func (s *Stack) policy(grants []Grant) resource.Policy {
	var p resource.Policy
	uses := map[string]KeyUse{}
	for _, g := range grants {
		p = append(p, resource.Statement{Effect: "Allow", Action: g.Actions, Resource: g.Resources})
		if k := g.Key; k.Service != "" {
			all := uses[k.Service]
			uses[k.Service] = KeyUse{k.Service, union(all.Actions, k.Actions), union(all.Tables, k.Tables)}
		}
	}
	for _, service := range slices.Sorted(maps.Keys(uses)) {
		p = append(p, s.keyStatement(uses[service]))
	}
	return p
}

// keyStatement lets a role use the key through one service. DynamoDB gives the
// same encryption context to KMS whatever it does with a table:
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.howitworks.html
func (s *Stack) keyStatement(use KeyUse) resource.Statement {
	equals := map[string][]string{"kms:ViaService": {use.Service + "." + s.Region + ".amazonaws.com"}}
	if len(use.Tables) > 0 {
		equals["kms:EncryptionContext:aws:dynamodb:tableName"] = use.Tables
	}
	return resource.Statement{
		Sid: "UseKeyThrough" + strings.ToUpper(use.Service), Effect: "Allow", Action: prefixed("kms", use.Actions), Resource: []string{s.key.ARN()},
		Condition: resource.Conditions{"StringEquals": equals},
	}
}

func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

// inTable is what reading and writing a table asks of the key: DynamoDB has its
// key for the table decrypted in the name of who calls. Everything else it asks
// by a grant, which it made for itself with the table.
func inTable(t *resource.Table) KeyUse {
	return KeyUse{Service: "dynamodb", Actions: []string{"Decrypt"}, Tables: []string{t.Name}}
}

// produces is what sending to an encrypted queue or topic asks of the key: SQS
// and SNS make a data key, and use one that they made before.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
func produces(service string) KeyUse {
	return KeyUse{Service: service, Actions: []string{"Decrypt", "GenerateDataKey"}}
}

func onTable(t *resource.Table, actions ...string) Grant {
	return Grant{Actions: prefixed("dynamodb", actions), Resources: []string{t.ARN}, Key: inTable(t)}
}

// readsStream is what Lambda's poller needs of the function's role. A stream's
// ARN ends with a time that is not known before the table exists.
func readsStream(t *resource.Table) Grant {
	return Grant{
		Actions:   prefixed("dynamodb", []string{"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"}),
		Resources: []string{t.ARN + "/stream/*"}, Key: inTable(t),
	}
}

func sendsTo(q *resource.Queue) Grant {
	return Grant{Actions: []string{"sqs:SendMessage"}, Resources: []string{q.ARN}, Key: produces("sqs")}
}

func publishesTo(t *resource.Topic) Grant {
	return Grant{Actions: []string{"sns:Publish"}, Resources: []string{t.ARN}, Key: produces("sns")}
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
