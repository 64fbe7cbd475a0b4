package stack

import "miniforge/internal/resource"

// onBehalfOf holds of calls that a service makes for one of our resources.
func (n Names) onBehalfOf(arns ...string) resource.Conditions {
	return resource.Conditions{
		"StringEquals": {"aws:SourceAccount": {n.Account}},
		"ArnEquals":    {"aws:SourceArn": arns},
	}
}

// keyPolicy lets the account's own IAM policies decide about principals of the
// account, and names the services that use the key in their own name. Roles
// are not named: a role of seconds ago is refused as an invalid principal.
func (n Names) keyPolicy() resource.Policy {
	use := []string{"kms:GenerateDataKey*", "kms:Decrypt"}
	var groups []string
	for _, g := range n.LogGroups() {
		groups = append(groups, n.LogGroupARN(g))
	}
	return resource.Policy{
		{Sid: "AccountDecidesByIAM", Effect: "Allow", Principal: map[string]string{"AWS": n.rootARN()},
			Action: []string{"kms:*"}, Resource: []string{"*"}},
		{Sid: "TopicDeliversToEncryptedQueues", Effect: "Allow", Principal: resource.Service("sns.amazonaws.com"),
			Action: use, Resource: []string{"*"}, Condition: n.onBehalfOf(n.TopicARN())},
		{Sid: "RuleWritesToEncryptedDeadLetters", Effect: "Allow", Principal: resource.Service("events.amazonaws.com"),
			Action: use, Resource: []string{"*"}, Condition: n.onBehalfOf(n.RuleARN())},
		{Sid: "LogGroupsAreEncrypted", Effect: "Allow", Principal: resource.Service("logs." + n.Region + ".amazonaws.com"),
			Action:    []string{"kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"},
			Resource:  []string{"*"},
			Condition: resource.Conditions{"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": groups}}},
	}
}

// tlsOnly denies everything that does not come over TLS.
func tlsOnly(action string, arns ...string) resource.Statement {
	return resource.Statement{
		Sid: "DenyWithoutTLS", Effect: "Deny", Principal: "*", Action: []string{action}, Resource: arns,
		Condition: resource.Conditions{"Bool": {"aws:SecureTransport": {"false"}}},
	}
}

// accepts lets a service send messages that come from one of our resources.
func accepts(sid, service, queueARN, sourceARN string) resource.Statement {
	return resource.Statement{
		Sid: sid, Effect: "Allow", Principal: resource.Service(service),
		Action: []string{"sqs:SendMessage"}, Resource: []string{queueARN},
		Condition: resource.Conditions{"ArnEquals": {"aws:SourceArn": {sourceARN}}},
	}
}

func (n Names) notificationsPolicy() resource.Policy {
	queue := n.QueueARN(n.Notifications())
	return resource.Policy{
		accepts("TopicDelivers", "sns.amazonaws.com", queue, n.TopicARN()),
		tlsOnly("sqs:*", queue),
	}
}

func (n Names) deadLettersPolicy() resource.Policy {
	queue := n.QueueARN(n.DeadLetters())
	return resource.Policy{
		accepts("TopicGivesUp", "sns.amazonaws.com", queue, n.TopicARN()),
		accepts("RuleGivesUp", "events.amazonaws.com", queue, n.RuleARN()),
		tlsOnly("sqs:*", queue),
	}
}

// topicPolicy allows nothing: who may publish is decided by IAM, as they are
// all of this account.
func (n Names) topicPolicy() resource.Policy {
	return resource.Policy{tlsOnly("sns:Publish", n.TopicARN())}
}

func (n Names) bucketPolicy() resource.Policy {
	return resource.Policy{tlsOnly("s3:*", n.BucketARN(), n.BucketARN()+"/*")}
}
