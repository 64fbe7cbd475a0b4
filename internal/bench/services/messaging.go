package services

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"miniforge/internal/bench"
)

// code is the code of an AWS error.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// unlessGone is the error of a deletion, for which being gone is success.
func unlessGone(err error) error {
	gone := []string{
		"ResourceNotFoundException", "NotFoundException", "NotFound", "NoSuchEntity", "NoSuchBucket", "NoSuchKey", "StateMachineDoesNotExist",
		"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue",
	}
	if slices.Contains(gone, code(err)) {
		return nil
	}
	return err
}

func (s *Bench) sts(_ context.Context, b *bed) error {
	client := sts.NewFromConfig(s.Config)
	b.operation("GetCallerIdentity", func(ctx context.Context, _, _ int) error {
		_, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		return err
	})
	return nil
}

func (s *Bench) sqs(ctx context.Context, b *bed) error {
	client := sqs.NewFromConfig(s.Config)
	out, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(s.name("queue")), Tags: s.Tags})
	if err != nil {
		return err
	}
	url := out.QueueUrl
	b.later(func(ctx context.Context) error {
		_, err := client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: url})
		return unlessGone(err)
	})
	body := aws.String("a message of a benchmark")
	b.operation("SendMessage", func(ctx context.Context, _, _ int) error {
		_, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: body})
		return err
	})
	// What was sent before lasts for this, which takes two calls a message.
	b.measure(func(ctx context.Context, clock *bench.Clock, _, _ int) error {
		var handles []*string
		err := clock.Time(ctx, "ReceiveMessage", func(ctx context.Context) error {
			out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 1})
			if err == nil {
				for _, m := range out.Messages {
					handles = append(handles, m.ReceiptHandle)
				}
			}
			return err
		})
		for _, handle := range handles {
			err = clock.Time(ctx, "DeleteMessage", func(ctx context.Context) error {
				_, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: handle})
				return err
			})
		}
		return err
	})
	return nil
}

func (s *Bench) sns(ctx context.Context, b *bed) error {
	client := sns.NewFromConfig(s.Config)
	out, err := client.CreateTopic(ctx, &sns.CreateTopicInput{
		Name: aws.String(s.name("topic")), Tags: tags(s, func(k, v *string) snstypes.Tag { return snstypes.Tag{Key: k, Value: v} }),
	})
	if err != nil {
		return err
	}
	b.later(func(ctx context.Context) error {
		_, err := client.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: out.TopicArn})
		return unlessGone(err)
	})
	b.operation("Publish", func(ctx context.Context, _, _ int) error {
		_, err := client.Publish(ctx, &sns.PublishInput{TopicArn: out.TopicArn, Message: aws.String("a message of a benchmark")})
		return err
	})
	return nil
}

func (s *Bench) events(ctx context.Context, b *bed) error {
	client, bus := eventbridge.NewFromConfig(s.Config), s.name("bus")
	b.later(func(ctx context.Context) error {
		_, err := client.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: &bus})
		return unlessGone(err)
	})
	_, err := client.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{
		Name: &bus, Tags: tags(s, func(k, v *string) eventtypes.Tag { return eventtypes.Tag{Key: k, Value: v} }),
	})
	entry := eventtypes.PutEventsRequestEntry{
		EventBusName: &bus, Source: aws.String("miniforge.bench"), DetailType: aws.String("Measured"), Detail: aws.String(`{"n":1}`),
	}
	b.operation("PutEvents", func(ctx context.Context, _, _ int) error {
		out, err := client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{entry}})
		if err == nil && out.FailedEntryCount > 0 {
			err = fmt.Errorf("%s: %s", aws.ToString(out.Entries[0].ErrorCode), aws.ToString(out.Entries[0].ErrorMessage))
		}
		return err
	})
	return err
}

const (
	machineOfOneState = `{"StartAt":"Done","States":{"Done":{"Type":"Pass","End":true}}}`
	trustsStates      = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"states.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

// machine makes a state machine of one state, with its role.
func (s *Bench) machine(ctx context.Context, client *sfn.Client, b *bed) (arn *string, err error) {
	roles := iam.NewFromConfig(s.Config)
	name := s.name("states")
	b.later(func(ctx context.Context) error {
		_, err := roles.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
		return unlessGone(err)
	})
	role, err := roles.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: &name, AssumeRolePolicyDocument: aws.String(trustsStates),
		Tags: tags(s, func(k, v *string) iamtypes.Tag { return iamtypes.Tag{Key: k, Value: v} }),
	})
	if err != nil {
		return nil, err
	}
	var machine *sfn.CreateStateMachineOutput
	err = await(ctx, func(ctx context.Context) (bool, error) {
		machine, err = client.CreateStateMachine(ctx, &sfn.CreateStateMachineInput{
			Name: &name, RoleArn: role.Role.Arn, Definition: aws.String(machineOfOneState),
			Tags: tags(s, func(k, v *string) sfntypes.Tag { return sfntypes.Tag{Key: k, Value: v} }),
		})
		if code(err) == "AccessDeniedException" { // the role is not known everywhere yet
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	arn = machine.StateMachineArn
	b.later(func(ctx context.Context) error {
		if _, err := client.DeleteStateMachine(ctx, &sfn.DeleteStateMachineInput{StateMachineArn: arn}); err != nil {
			return unlessGone(err)
		}
		// It stays until its last execution has ended.
		return await(ctx, func(ctx context.Context) (bool, error) {
			_, err := client.DescribeStateMachine(ctx, &sfn.DescribeStateMachineInput{StateMachineArn: arn})
			return err != nil, unlessGone(err)
		})
	})
	return arn, nil
}

func (s *Bench) sfn(ctx context.Context, b *bed) error {
	client := sfn.NewFromConfig(s.Config)
	arn, err := s.machine(ctx, client, b)
	if err != nil {
		return err
	}
	b.measure(func(ctx context.Context, clock *bench.Clock, _, _ int) error {
		return clock.Time(ctx, "execution, start to end", func(ctx context.Context) error {
			var execution *string
			err := clock.Time(ctx, "StartExecution", func(ctx context.Context) error {
				out, err := client.StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: arn})
				if err == nil {
					execution = out.ExecutionArn
				}
				return err
			})
			if err != nil {
				return err
			}
			return await(ctx, func(ctx context.Context) (bool, error) {
				out, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: execution})
				if err != nil {
					return false, err
				}
				if out.Status == sfntypes.ExecutionStatusFailed {
					return false, errors.New("the execution failed")
				}
				return out.Status == sfntypes.ExecutionStatusSucceeded, nil
			})
		})
	})
	return nil
}

func (s *Bench) lambda(ctx context.Context, b *bed) error {
	if s.Function == "" {
		return fmt.Errorf("%w: there is no function to invoke; miniforge up makes some", ErrSkipped)
	}
	client := lambda.NewFromConfig(s.Config)
	invoke := func(ctx context.Context) error {
		out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &s.Function, Payload: s.Payload})
		if err == nil && out.FunctionError != nil {
			err = fmt.Errorf("%s: %s", *out.FunctionError, out.Payload)
		}
		return err
	}
	b.operation("Invoke", func(ctx context.Context, _, _ int) error { return invoke(ctx) })
	if err := invoke(ctx); code(err) == "ResourceNotFoundException" {
		return fmt.Errorf("%w: there is no function %s; miniforge up makes it", ErrSkipped, s.Function)
	} else if err != nil {
		return err
	}
	return nil
}
