package codecommit

import (
	"miniforge/internal/cloud/event/notice"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) notices() *notice.Sender {
	return &notice.Sender{Service: "codecommit", Tasks: s.Tasks, Caller: s.Caller, Log: s.Log, Account: s.Account}
}

// tell announces that a branch has moved.
// https://docs.aws.amazon.com/codecommit/latest/userguide/monitoring-events.html
func (s *Service) tell(tx *store.Tx, c *wire.Call, r *repository, m move) error {
	arn := s.arn(r.Region, r.Name)
	detail := map[string]any{
		"callerUserArn": c.Principal.ARN, "event": "referenceUpdated", "referenceType": "branch", "referenceName": m.Branch, "referenceFullName": refsHeads + m.Branch,
		"repositoryId": r.ID, "repositoryName": r.Name,
	}
	switch {
	case m.From == "":
		detail["event"] = "referenceCreated"
	case m.To == "":
		detail["event"] = "referenceDeleted"
	}
	if m.To != "" {
		detail["commitId"] = m.To
	}
	if m.From != "" {
		detail["oldCommitId"] = m.From
	}
	tx.OnCommit(func() { s.Signals.Notify(arn) })
	return s.notices().Send(tx, r.Region, arn, "CodeCommit Repository State Change", detail)
}
