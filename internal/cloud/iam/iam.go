// Package iam is Identity and Access Management: users, roles, their policies
// and access keys, and the policy simulator. It is global: its rows belong to
// no region.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/Welcome.html
package iam

import (
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/memo"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Log     *slog.Logger
	Account string
	// Settle is how long changes take to be what requests are judged by.
	Settle latency.Settle
}

// A Service serves the account's identities.
type Service struct {
	Options
	identities memo.Map[string, *identity]
	keys       memo.Map[string, *credential]
	past       latency.Late[*identity]   // by ARN
	pastKeys   latency.Late[*credential] // by access key id
}

// Tables.
const (
	roles    = store.Table[entity]("iam.roles")       // by name
	users    = store.Table[entity]("iam.users")       // by name
	policies = store.Table[policyRow]("iam.policies") // by ARN
	keyRows  = store.Table[keyRow]("iam.keys")        // by access key id
)

// An entity is a user or a role.
type entity struct {
	Name        string            `json:"name"`
	Path        string            `json:"path"`
	ID          string            `json:"id"` // AIDA... or AROA...
	Created     time.Time         `json:"created"`
	Description string            `json:"description,omitempty"`
	MaxSession  int32             `json:"max_session,omitempty"` // seconds; roles
	Trust       string            `json:"trust,omitempty"`       // policy document; roles
	Service     string            `json:"service,omitempty"`     // service-linked roles
	Boundary    string            `json:"boundary,omitempty"`    // ARN of a managed policy
	Tags        map[string]string `json:"tags,omitempty"`
	Inline      map[string]string `json:"inline,omitempty"`   // policy documents by name
	Attached    []string          `json:"attached,omitempty"` // ARNs of managed policies, in the order of attaching
}

// A kind is what differs between users and roles.
type kind struct {
	table    store.Table[entity]
	word     string // "role"
	title    string // "Role"
	idPrefix string
	inline   int // characters of all inline policies, white space not counted
}

var (
	roleKind = &kind{roles, "role", "Role", "AROA", 10240}
	userKind = &kind{users, "user", "User", "AIDA", 2048}
)

// New makes the service.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{Options: o}
}

// Register adds the operations.
func (s *Service) Register(m *wire.Mux, _ *event.Queue) {
	identifier, variants := wire.Union[types.PolicyIdentifier](&types.PolicyIdentifierMemberInlinePolicyIdentifier{},
		&types.PolicyIdentifierMemberPolicyArn{}, &types.PolicyIdentifierMemberPolicyType{})
	api := m.API(wire.API{
		Unions:  map[reflect.Type]wire.Variants{identifier: variants},
		Service: "iam", Protocol: wire.Query, Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
		Statuses: map[string]int{
			"NoSuchEntity": http.StatusNotFound, "EntityAlreadyExists": http.StatusConflict, "DeleteConflict": http.StatusConflict,
			"LimitExceeded": http.StatusConflict, "ConcurrentModification": http.StatusConflict, "NotSupportedService": http.StatusNotFound,
			"AccessDenied": http.StatusForbidden,
		},
		Invalid: invalidMembers,
	})
	s.registerRoles(api)
	s.registerUsers(api)
	s.registerInline(api)
	s.registerAttached(api)
	s.registerBoundaries(api)
	s.registerTags(api)
	s.registerPolicies(api)
	s.registerVersions(api)
	s.registerKeys(api)
	s.registerSimulator(api)
}

// invalidMembers has IAM's own text for names with characters that they must not have.
func invalidMembers(_ string, problems []wire.Problem) error {
	for _, p := range problems {
		if strings.HasSuffix(strings.ToLower(p.Path), "name") && strings.Contains(p.Text, "regular expression") {
			return validation("The specified value for " + p.Path + " is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
		}
	}
	return validation(wire.ProblemText(problems))
}

// Constraints of members that many operations have in common.
const (
	namePattern   = `[\w+=,.@-]+`
	roleRule      = "RoleName! 1..64 " + namePattern
	userRule      = "UserName! 1..64 " + namePattern
	someUserRule  = "UserName 1..128 " + namePattern
	policyRule    = "PolicyName! 1..128 " + namePattern
	documentRule  = "PolicyDocument! 1..131072 [\\x{0009}\\x{000A}\\x{000D}\\x{0020}-\\x{00FF}]+"
	policyARNRule = "PolicyArn! 20..2048"
	pathRule      = `Path 1..512 (\x{002F})|(\x{002F}[\x{0021}-\x{007E}]+\x{002F})`
	prefixRule    = `PathPrefix 1..512 \x{002F}[\x{0021}-\x{007F}]*`
	markerRule    = `Marker 1..4096 [\x{0020}-\x{00FF}]+`
	maxRule       = "MaxItems 1..1000"
	textRule      = "Description 0..1000"
)
