package latency

import "time"

// A profile says how long what takes.
type profile struct {
	// call is an operation of a service, by service and operation; that of ""
	// is any other of the service. A service that is not there takes as long
	// as "".
	call map[string]map[string]distribution
	// hop is a delivery, by the kind of its task.
	hop map[string]distribution
	// start is a function's process, request what an HTTP API adds to a request.
	start, request distribution
	// change is what is in effect only later.
	change map[Change]distribution
}

func ms(median int, sigma float64) distribution {
	return distribution{time.Duration(median) * time.Millisecond, sigma}
}

// aws is one region of AWS as seen from within it. The medians are what tests
// of others against AWS took, rounded, or what AWS says; they are there to
// exercise whoever waits, not to predict what AWS will do tomorrow.
var aws = profile{
	call: map[string]map[string]distribution{
		"":             {"": ms(100, .4)},
		"apigateway":   {"": ms(300, .4)},
		"codebuild":    {"": ms(150, .4)},
		"codedeploy":   {"": ms(150, .4)},
		"codecommit":   {"": ms(150, .4), "CreateCommit": ms(900, .3)},
		"codepipeline": {"": ms(150, .4)},
		"dynamodb": {
			"": ms(100, .4), "GetItem": ms(4, .4), "PutItem": ms(6, .4), "UpdateItem": ms(6, .4), "DeleteItem": ms(6, .4), "Query": ms(6, .4), "Scan": ms(10, .4),
			"BatchGetItem": ms(8, .4), "BatchWriteItem": ms(10, .4), "TransactWriteItems": ms(15, .4), "TransactGetItems": ms(12, .4),
			// A mapping looks for records four times a second.
			"GetRecords": ms(120, .4), "GetShardIterator": ms(15, .4),
		},
		"events":  {"": ms(100, .4), "PutEvents": ms(25, .4)},
		"iam":     {"": ms(120, .4), "CreateRole": ms(250, .3)},
		"kms":     {"": ms(100, .4), "CreateKey": ms(400, .3), "Encrypt": ms(6, .4), "Decrypt": ms(6, .4), "GenerateDataKey": ms(6, .4), "GenerateDataKeyWithoutPlaintext": ms(6, .4)},
		"lambda":  {"": ms(120, .4), "Invoke": ms(10, .4)},
		"logs":    {"": ms(120, .4), "PutLogEvents": ms(20, .4)},
		"s3":      {"": ms(60, .4), "CreateBucket": ms(500, .3), "DeleteBucket": ms(700, .3), "GetObject": ms(25, .4), "PutObject": ms(40, .4)},
		"sns":     {"": ms(150, .4), "Publish": ms(20, .4), "PublishBatch": ms(25, .4)},
		"sqs":     {"": ms(120, .4), "SendMessage": ms(10, .4), "SendMessageBatch": ms(12, .4), "ReceiveMessage": ms(10, .4), "DeleteMessage": ms(8, .4), "DeleteMessageBatch": ms(10, .4), "ChangeMessageVisibility": ms(8, .4)},
		"states":  {"": ms(120, .4), "StartExecution": ms(40, .4), "DescribeExecution": ms(30, .4), "GetExecutionHistory": ms(40, .4), "ListExecutions": ms(60, .4)},
		"sts":     {"": ms(30, .4)},
		"tagging": {"": ms(150, .4)},
	},
	hop: map[string]distribution{
		"events.deliver":      ms(150, .5),
		"sns.deliver":         ms(50, .4),
		"lambda.async":        ms(30, .4),
		"sfn.run":             ms(40, .4),
		"codepipeline.action": ms(2000, .3),
		"codebuild.build":     ms(8000, .3),
	},
	start:   ms(150, .4),
	request: ms(12, .4),
	change: map[Change]distribution{
		Identity:         ms(9000, .4),
		AccessKey:        ms(6000, .4),
		TableCreated:     ms(7000, .2),
		TableUpdated:     ms(4000, .25),
		TableDeleted:     ms(5000, .4),
		FunctionCreated:  ms(1700, .25),
		FunctionUpdated:  ms(1800, .3),
		MappingChanged:   ms(5000, .35),
		MappingBeginning: ms(20000, .4),
	},
}
