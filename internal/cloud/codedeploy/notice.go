package codedeploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// noticeKind are the tasks that tell others of a deployment's state: the
// default bus, and the topics of the group's triggers. Those of one
// deployment keep their order.
const noticeKind = "codedeploy.notice"

const maxNotices = 20 // tries

// A notice is one message on its way.
type notice struct {
	Region, App, Group, Deployment string
	At                             time.Time
	Body                           string
	// Of a trigger only.
	Topic, Subject, Role string `json:",omitempty"`
}

// triggerEvents are the states by the names that triggers have for them.
var triggerEvents = map[string]types.TriggerEventType{
	"START": types.TriggerEventTypeDeploymentStart, "SUCCESS": types.TriggerEventTypeDeploymentSuccess, "FAILURE": types.TriggerEventTypeDeploymentFailure,
	"STOP": types.TriggerEventTypeDeploymentStop, "ROLLBACK": types.TriggerEventTypeDeploymentRollback,
}

// tell sends a change of state to the default bus and to the group's triggers.
// A rollback is known to triggers only.
// https://docs.aws.amazon.com/codedeploy/latest/userguide/monitoring-cloudwatch-events.html
func (s *Service) tell(tx *store.Tx, d *deployment, state string) error {
	n := notice{Region: d.Region, App: *d.Info.ApplicationName, Group: *d.Info.DeploymentGroupName, Deployment: *d.Info.DeploymentId, At: now(), Role: d.Role}
	g, _, err := groups.Get(tx, key(d.Region, n.App, n.Group))
	if err != nil {
		return err
	}
	if state != "ROLLBACK" {
		if n.Body, err = encode(map[string]any{
			"region": d.Region, "deploymentId": n.Deployment, "instanceGroupId": aws.ToString(g.Info.DeploymentGroupId),
			"deploymentGroup": n.Group, "state": state, "application": n.App,
		}); err != nil {
			return err
		}
		if err := s.post(tx, n); err != nil {
			return err
		}
	}
	for _, t := range g.Info.TriggerConfigurations {
		if !slices.Contains(t.TriggerEvents, triggerEvents[state]) {
			continue
		}
		n.Topic, n.Subject = *t.TriggerTargetArn, fmt.Sprintf("%s: AWS CodeDeploy %s in %s to %s", verbs[state], n.Deployment, d.Region, n.Group)
		if n.Body, err = encode(s.triggered(d, *t.TriggerName, verbs[state])); err != nil {
			return err
		}
		if err := s.post(tx, n); err != nil {
			return err
		}
	}
	return nil
}

var verbs = map[string]string{"START": "CREATED", "SUCCESS": "SUCCEEDED", "FAILURE": "FAILED", "STOP": "STOPPED", "ROLLBACK": "ROLLEDBACK"}

// triggered is the message of a trigger.
// https://docs.aws.amazon.com/codedeploy/latest/userguide/monitoring-sns-event-notifications-json-format.html
func (s *Service) triggered(d *deployment, trigger, status string) map[string]any {
	const layout = "Mon Jan 02 15:04:05 UTC 2006"
	m := map[string]any{
		"region": d.Region, "accountId": s.Account, "eventTriggerName": trigger, "applicationName": d.Info.ApplicationName, "deploymentId": d.Info.DeploymentId,
		"deploymentGroupName": d.Info.DeploymentGroupName, "createTime": d.Info.CreateTime.Format(layout), "status": status,
	}
	if d.Info.CompleteTime != nil {
		m["completeTime"] = d.Info.CompleteTime.Format(layout)
	}
	if e := d.Info.ErrorInformation; e != nil {
		m["errorInformation"] = map[string]any{"ErrorCode": e.Code, "ErrorMessage": e.Message}
	}
	return m
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode notice of a deployment: %w", err)
	}
	return string(b), nil
}

func (s *Service) post(tx *store.Tx, n notice) error {
	body, err := encode(n)
	if err != nil {
		return err
	}
	return s.Tasks.Send(tx, event.Task{Kind: noticeKind, Lane: key(n.Region, n.Deployment, n.Topic), Body: []byte(body)})
}

// notify delivers a notice. It may arrive twice after a crash, as on AWS.
func (s *Service) notify(ctx context.Context, t event.Task) event.Result {
	var n notice
	err := json.Unmarshal(t.Body, &n)
	if err != nil {
		s.Log.Error("cannot read a deployment's notice", "error", err)
		return event.Done()
	}
	if n.Topic != "" {
		err = s.publish(ctx, n)
	} else {
		err = s.putEvent(ctx, n)
	}
	if err == nil {
		return event.Done()
	}
	if t.Attempts >= maxNotices || denied(err) {
		s.Log.Error("a deployment's notice was refused", "deployment", n.Deployment, "topic", n.Topic, "error", err)
		return event.Done()
	}
	return event.Retry(time.Second << min(t.Attempts, 8))
}

func (s *Service) publish(ctx context.Context, n notice) error {
	region := n.Region
	if p := strings.Split(n.Topic, ":"); len(p) > 3 {
		region = p[3]
	}
	as, err := s.assume(ctx, n.Region, n.App, n.Group, n.Role)
	if err != nil {
		return err
	}
	as.Region = region
	_, err = s.Caller.Call(ctx, as, &sns.PublishInput{TopicArn: &n.Topic, Subject: &n.Subject, Message: &n.Body})
	return err
}

func (s *Service) putEvent(ctx context.Context, n notice) error {
	prefix := "arn:aws:codedeploy:" + n.Region + ":" + s.Account + ":"
	group := prefix + groupResource(n.App, n.Group)
	as := wire.As{Region: n.Region, Principal: authz.ServicePrincipal("codedeploy", group, s.Account)}
	out, err := wire.Do[eventbridge.PutEventsOutput](ctx, s.Caller, as, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		Source: new("aws.codedeploy"), DetailType: new("CodeDeploy Deployment State-change Notification"), Detail: &n.Body, Time: &n.At,
		Resources: []string{prefix + "application:" + n.App, group},
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = errors.New(aws.ToString(out.Entries[0].ErrorCode) + ": " + aws.ToString(out.Entries[0].ErrorMessage))
	}
	return err
}
