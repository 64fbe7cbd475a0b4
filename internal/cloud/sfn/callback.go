package sfn

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/store"
)

// A tokenBody is what a task token says, so that one whose task is over can be
// told from one that never was.
type tokenBody struct {
	Execution string `json:"e"`
	Thread    string `json:"t"`
	Nonce     string `json:"n"`
}

func (s *Service) newToken(execution, thread string) string {
	b, err := json.Marshal(tokenBody{execution, thread, s.uuid()})
	if err != nil {
		panic("sfn: " + err.Error()) // three strings
	}
	return base64.StdEncoding.EncodeToString(b)
}

// heard changes the row of a task that waits for word and wakes its execution.
func (s *Service) heard(ctx context.Context, text string, change func(*token)) error {
	var body tokenBody
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(b, &body) != nil || body.Nonce == "" {
		return &types.InvalidToken{Message: new("Invalid Token: 'Invalid token'")}
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		k, ok, err := tokens.Get(tx, text)
		if err != nil {
			return err
		}
		p, alive, err := progresses.Get(tx, body.Execution)
		if err != nil {
			return err
		}
		if !ok || k.Ended || !alive || p.Status != running {
			return &types.TaskTimedOut{Message: new("Task Timed Out: 'Provided task does not exist anymore'")}
		}
		change(&k)
		tx.OnCommit(func() { s.Signals.Notify(wakeKey(body.Execution)) })
		return tokens.Put(tx, text, k)
	})
}

// SendTaskSuccess ends a task that waits for its token.
func (s *Service) SendTaskSuccess(ctx context.Context, in *sdk.SendTaskSuccessInput) (*sdk.SendTaskSuccessOutput, error) {
	if _, err := asl.Decode(*in.Output); err != nil {
		return nil, &types.InvalidOutput{Message: new(fmt.Sprintf("Invalid Output: '%s'", err))}
	}
	return &sdk.SendTaskSuccessOutput{}, s.heard(ctx, *in.TaskToken, func(k *token) { k.Ended, k.Output = true, *in.Output })
}

// SendTaskFailure fails a task that waits for its token.
func (s *Service) SendTaskFailure(ctx context.Context, in *sdk.SendTaskFailureInput) (*sdk.SendTaskFailureOutput, error) {
	return &sdk.SendTaskFailureOutput{}, s.heard(ctx, *in.TaskToken, func(k *token) {
		k.Ended, k.Failed = true, true
		if in.Error != nil {
			k.Error = *in.Error
		}
		if in.Cause != nil {
			k.Cause = *in.Cause
		}
	})
}

// SendTaskHeartbeat tells that a task is still worked on.
func (s *Service) SendTaskHeartbeat(ctx context.Context, in *sdk.SendTaskHeartbeatInput) (*sdk.SendTaskHeartbeatOutput, error) {
	return &sdk.SendTaskHeartbeatOutput{}, s.heard(ctx, *in.TaskToken, func(k *token) { k.Beat = s.now() })
}
