package codedeploy

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"miniforge/internal/cloud/store"
)

// Rows. Names of applications and groups hold no slash, so that keys made of
// them are unambiguous.
const (
	apps        = store.Table[app]("codedeploy.apps")               // region/app
	groups      = store.Table[group]("codedeploy.groups")           // region/app/group
	configs     = store.Table[config]("codedeploy.configs")         // region/config
	revisions   = store.Table[revision]("codedeploy.revisions")     // region/app/hash
	deployments = store.Table[deployment]("codedeploy.deployments") // region/id
	// history lists deployments by when they were made, twice: all of a region
	// under "region//", those of a group under "region/app/group/".
	history = store.Table[string]("codedeploy.history")
)

type app struct {
	Info types.ApplicationInfo
	Tags map[string]string `json:",omitempty"`
}

type group struct {
	Info types.DeploymentGroupInfo
	Tags map[string]string `json:",omitempty"`
	// Active is the deployment under way: there is at most one.
	Active string `json:",omitempty"`
	// Good is the last deployment that succeeded: what a rollback returns to.
	Good string `json:",omitempty"`
}

type config struct {
	Info types.DeploymentConfigInfo
}

type revision struct {
	Location types.RevisionLocation
	Info     types.GenericRevisionInfo
}

// A deployment is what callers see of it, and where it stands.
type deployment struct {
	Region string
	Info   types.DeploymentInfo
	Target *types.LambdaTarget `json:",omitempty"` // nil until it has started

	Role     string // the group's when the deployment was made
	Alarms   *types.AlarmConfiguration
	Routing  types.TrafficRoutingConfig
	Spec     *appSpec `json:",omitempty"` // nil until the revision is read
	Rollback bool     `json:",omitempty"` // returns an alias after the deployment that failed

	// Checked says that the alias was found where the revision says it is.
	Checked bool `json:",omitempty"`
	// Event is the place of the lifecycle event under way.
	Event int `json:",omitempty"`
	// Shifts is how many steps of the traffic's shift have been asked of
	// Lambda and answered; Wake is when the next is due.
	Shifts int       `json:",omitempty"`
	Wake   time.Time `json:",omitzero"`
	// Hook is the execution of a hook function that is awaited; Executions are
	// those that were.
	Hook       *hook    `json:",omitempty"`
	Executions []string `json:",omitempty"`
	// End is how the deployment is to end once what it changed is put back.
	End *ending `json:",omitempty"`
}

// A hook is one run of a function that checks.
type hook struct {
	Execution string
	Function  string
	Invoked   bool
	Deadline  time.Time
	Answer    types.LifecycleEventStatus `json:",omitempty"`
}

// An ending is the final status of a deployment with its reason.
type ending struct {
	Status  types.DeploymentStatus
	Code    types.ErrorCode
	Message string
	Return  bool // the alias goes back to where it was, and a rollback is made
	// Returned says that the alias was put back, or, with Trouble, why it was not.
	Returned bool   `json:",omitempty"`
	Trouble  string `json:",omitempty"`
}

func key(parts ...string) string { return strings.Join(parts, "/") }

// moment is a time as a part of a key: such keys order as their times do.
func moment(t time.Time) string { return t.UTC().Format("20060102T150405.000") }

func (d *deployment) key() string { return key(d.Region, *d.Info.DeploymentId) }

// indexKeys are the rows of history that list a deployment.
func (d *deployment) indexKeys() [2]string {
	at := moment(*d.Info.CreateTime)
	return [2]string{
		key(d.Region, "", at, *d.Info.DeploymentId),
		key(d.Region, *d.Info.ApplicationName, *d.Info.DeploymentGroupName, at, *d.Info.DeploymentId),
	}
}

// active tells whether a deployment has not ended.
func (d *deployment) active() bool { return d.Info.CompleteTime == nil }
