// Package authz decides who may do what: principals, policies and their
// evaluation as IAM does it.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
package authz

import "time"

// A PrincipalType is the kind of identity that makes a request.
type PrincipalType string

// The kinds of principals that the cloud knows.
const (
	Anonymous   PrincipalType = "Anonymous"   // no credentials: only routes of HTTP APIs
	Root        PrincipalType = "Account"     // the account's root user
	User        PrincipalType = "User"        // an IAM user
	AssumedRole PrincipalType = "AssumedRole" // a role session
	Service     PrincipalType = "Service"     // an AWS service that acts in its own name
)

// A Principal is the identity that a request is judged as. It is stored with
// deliveries that are made later, hence the JSON names.
type Principal struct {
	Type    PrincipalType `json:"type"`
	ARN     string        `json:"arn,omitempty"`     // arn:aws:sts::123456789012:assumed-role/role/session
	ID      string        `json:"id,omitempty"`      // unique id: account id, AIDA..., AROA...:session
	Account string        `json:"account,omitempty"` // 12 digits

	RoleARN       string            `json:"role_arn,omitempty"`       // AssumedRole: the role
	SessionPolicy []string          `json:"session_policy,omitempty"` // AssumedRole: policy documents that narrow the session
	Tags          map[string]string `json:"tags,omitempty"`           // session tags: aws:PrincipalTag/...
	Transitive    []string          `json:"transitive,omitempty"`     // keys of session tags that pass to further sessions
	Issued        time.Time         `json:"issued,omitzero"`          // of temporary credentials: aws:TokenIssueTime

	// Service is a service principal: "events.amazonaws.com". Source is the
	// resource for which that service acts (aws:SourceArn), SourceAccount its
	// owner (aws:SourceAccount).
	Service       string `json:"service,omitempty"`
	Source        string `json:"source,omitempty"`
	SourceAccount string `json:"source_account,omitempty"`

	// Via names the service that passes the principal's request on with
	// its identity (a forward access session): "dynamodb". It becomes
	// kms:ViaService ("dynamodb.us-east-1.amazonaws.com") and aws:ViaAWSService.
	Via string `json:"via,omitempty"`
}

// ServicePrincipal is the identity of a service that acts for one of its
// resources: ServicePrincipal("sns", topicARN, account).
func ServicePrincipal(service, source, account string) Principal {
	return Principal{
		Type: Service, Service: service + ".amazonaws.com",
		Source: source, SourceAccount: account, Account: account,
	}
}

// On returns p as it appears when service passes its request on.
func (p Principal) On(service string) Principal {
	p.Via = service
	return p
}

// An Access is one thing that a request wants to do: an action on a resource
// under the condition keys that the request brings.
type Access struct {
	Action   string              // "sqs:SendMessage"
	Resource string              // ARN; "*" for actions without a resource, "" for what has no ARN yet
	Context  map[string][]string // condition keys of the service: "kms:EncryptionContext:aws:sqs:arn"
}
