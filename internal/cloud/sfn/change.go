package sfn

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// CreateStateMachine makes a state machine. The same request again is no error.
func (s *Service) CreateStateMachine(ctx context.Context, in *sdk.CreateStateMachineInput) (*sdk.CreateStateMachineOutput, error) {
	m, err := s.newMachine(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &sdk.CreateStateMachineOutput{StateMachineArn: &m.ARN, CreationDate: &m.Created}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		was, exists, err := machines.Get(tx, m.ARN)
		switch {
		case err != nil:
			return err
		case exists && was.Deleting:
			return &types.StateMachineDeleting{Message: new("State Machine Deleting: '" + m.ARN + "'")}
		case exists:
			if was.Definition != m.Definition || was.Type != m.Type || was.Logging != m.Logging || was.Tracing != m.Tracing {
				return &types.StateMachineAlreadyExists{Message: new("State Machine Already Exists: '" + m.ARN + "'")}
			}
			m, out.CreationDate = was, &was.Created // role and tags of a repetition are ignored
		}
		if err := definitions.Put(tx, m.Definition, *in.Definition); err != nil {
			return err
		}
		if in.Publish {
			v, err := s.publish(tx, &m, in.VersionDescription)
			if err != nil {
				return err
			}
			out.StateMachineVersionArn = &v
		}
		return machines.Put(tx, m.ARN, m)
	})
}

// newMachine checks all that can be checked of a new machine before it is written.
func (s *Service) newMachine(ctx context.Context, in *sdk.CreateStateMachineInput) (m machine, err error) {
	call := wire.CallOf(ctx)
	if err := first(validName(in.Name), checkVersion(in.VersionDescription, in.Publish)); err != nil {
		return m, err
	}
	m = machine{
		ARN: call.ARN("states", "stateMachine:"+*in.Name), Name: *in.Name, Type: string(types.StateMachineTypeStandard), Role: *in.RoleArn,
		Tracing: in.TracingConfiguration != nil && in.TracingConfiguration.Enabled, Created: s.now(),
	}
	m.Updated = m.Created
	if in.Type != "" {
		m.Type = string(in.Type)
	}
	if m.Tags, err = tagMap(in.Tags); err != nil {
		return m, err
	}
	if m.Definition, err = s.checkDefinition(*in.Definition); err != nil {
		return m, err
	}
	if err := s.checkExpress(m.Type, m.Definition); err != nil {
		return m, err
	}
	if m.Logging, err = checkLogging(in.LoggingConfiguration); err != nil {
		return m, err
	}
	if m.Encryption, err = checkEncryption(in.EncryptionConfiguration); err != nil {
		return m, err
	}
	if err := s.checkRole(ctx, m.ARN, m.Role, call.Region); err != nil {
		return m, err
	}
	return m, s.allowLog(ctx, m.ARN, m.Role, m.Logging)
}

func checkVersion(description *string, publish bool) error {
	if description != nil && !publish {
		return validation("Version description can only be set when publish is true")
	}
	return nil
}

// UpdateStateMachine changes what is given.
func (s *Service) UpdateStateMachine(ctx context.Context, in *sdk.UpdateStateMachineInput) (*sdk.UpdateStateMachineOutput, error) {
	a, err := s.parseARN(in.StateMachineArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	key, logs, err := s.checkUpdate(ctx, a, in)
	if err != nil {
		return nil, err
	}
	out := &sdk.UpdateStateMachineOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		m, err := s.usable(tx, a.full)
		if err != nil {
			return err
		}
		if key != "" {
			if err := first(s.checkExpress(m.Type, key), definitions.Put(tx, key, *in.Definition)); err != nil {
				return err
			}
			m.Definition = key
		}
		if in.RoleArn != nil {
			m.Role = *in.RoleArn
		}
		if in.LoggingConfiguration != nil {
			m.Logging = logs
		}
		if in.TracingConfiguration != nil {
			m.Tracing = in.TracingConfiguration.Enabled
		}
		m.Updated, m.Revision = s.now(), s.uuid()
		out.UpdateDate, out.RevisionId = &m.Updated, &m.Revision
		if in.Publish {
			v, err := s.publish(tx, &m, in.VersionDescription)
			if err != nil {
				return err
			}
			out.StateMachineVersionArn = &v
		}
		return machines.Put(tx, m.ARN, m)
	})
}

// checkUpdate checks what an update brings. key is that of its definition, or "".
func (s *Service) checkUpdate(ctx context.Context, a arn, in *sdk.UpdateStateMachineInput) (key string, logs logging, err error) {
	if in.Definition == nil && in.RoleArn == nil && in.LoggingConfiguration == nil && in.TracingConfiguration == nil && in.EncryptionConfiguration == nil && !in.Publish {
		return "", logs, &types.MissingRequiredParameter{Message: new("Either the definition, the role ARN, the LoggingConfiguration, the TracingConfiguration or the EncryptionConfiguration must be specified")}
	}
	if err := checkVersion(in.VersionDescription, in.Publish); err != nil {
		return "", logs, err
	}
	if in.Definition != nil {
		if key, err = s.checkDefinition(*in.Definition); err != nil {
			return "", logs, err
		}
	}
	if logs, err = checkLogging(in.LoggingConfiguration); err != nil {
		return "", logs, err
	}
	if _, err := checkEncryption(in.EncryptionConfiguration); err != nil {
		return "", logs, err
	}
	if in.RoleArn != nil {
		if err := s.checkRole(ctx, a.full, *in.RoleArn, a.region); err != nil {
			return "", logs, err
		}
	}
	if logs.Group != "" {
		err = s.allowLogOf(ctx, a.full, in.RoleArn, logs)
	}
	return key, logs, err
}
