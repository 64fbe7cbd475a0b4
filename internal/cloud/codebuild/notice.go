package codebuild

import (
	"miniforge/internal/cloud/event/notice"
	"miniforge/internal/cloud/store"
)

func (s *Service) notices() *notice.Sender {
	return &notice.Sender{Service: "codebuild", Tasks: s.Tasks, Caller: s.Caller, Log: s.Log, Account: s.Account}
}

// tell announces a change of a build's status.
// https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html
func (s *Service) tell(tx *store.Tx, b *build) error {
	return s.notices().Send(tx, b.Region, *b.Arn, "CodeBuild Build State Change", map[string]any{
		"build-status": b.BuildStatus, "project-name": b.ProjectName, "build-id": b.Arn, "current-phase": b.CurrentPhase, "version": "1",
		"additional-information": map[string]any{"build-complete": b.BuildComplete, "initiator": b.Initiator, "build-number": b.BuildNumber, "build-start-time": b.StartTime},
	})
}
