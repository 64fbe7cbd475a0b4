package stack

import (
	"fmt"
	"regexp"
)

// The functions of the system, by the name that follows the stack's.
const (
	OrderIntake      = "order-intake"
	StreamProcessor  = "stream-processor"
	InventoryChecker = "inventory-checker"
	PaymentProcessor = "payment-processor"
)

// FunctionNames lists the functions in the order in which an order meets them.
func FunctionNames() []string {
	return []string{OrderIntake, StreamProcessor, InventoryChecker, PaymentProcessor}
}

// LiveAlias is the alias through which every caller reaches a function.
const LiveAlias = "live"

// StatusIndex is the orders table's index by status and creation time.
const StatusIndex = "by-status"

// DefaultName is the stack's name where none is given.
const DefaultName = "miniforge"

// validName keeps every derived name within the limits of its service: bucket
// names are the narrowest (63 characters, of which account and region take
// half).
var validName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$`)

// Names tells every name and ARN of a stack. They follow from the three fields
// alone, which is why the tool needs no state file.
type Names struct{ Name, Account, Region string }

// Validate reports a name that some service would refuse.
func (n Names) Validate() error {
	if !validName.MatchString(n.Name) {
		return fmt.Errorf("stack name %q: use 1 to 20 lower-case letters, digits and hyphens, beginning with a letter", n.Name)
	}
	if n.Account == "" || n.Region == "" {
		return fmt.Errorf("stack %s: account %q and region %q must both be known", n.Name, n.Account, n.Region)
	}
	return nil
}

func (n Names) of(thing string) string { return n.Name + "-" + thing }

func (n Names) KeyAlias() string      { return "alias/" + n.of("data") }
func (n Names) Orders() string        { return n.of("orders") }    // table
func (n Names) Inventory() string     { return n.of("inventory") } // table
func (n Names) Bus() string           { return n.of("orders") }
func (n Names) Rule() string          { return n.of("order-placed") }
func (n Names) StateMachine() string  { return n.of("fulfilment") }
func (n Names) Topic() string         { return n.of("order-notifications") }
func (n Names) Notifications() string { return n.of("notifications") } // queue
func (n Names) DeadLetters() string   { return n.of("orders-dlq") }    // queue
func (n Names) API() string           { return n.of("orders") }

// Functions lists the full names of all functions.
func (n Names) Functions() []string {
	var names []string
	for _, f := range FunctionNames() {
		names = append(names, n.Function(f))
	}
	return names
}

// Function is the full name of one of FunctionNames, and that of its role.
func (n Names) Function(f string) string { return n.of(f) }
func (n Names) WorkflowRole() string     { return n.of("workflow") }
func (n Names) RuleRole() string         { return n.of("rule") }
func (n Names) RolePath() string         { return "/miniforge/" + n.Name + "/" }

func (n Names) FunctionLogGroup(f string) string { return "/aws/lambda/" + n.Function(f) }
func (n Names) WorkflowLogGroup() string         { return "/aws/vendedlogs/states/" + n.StateMachine() }
func (n Names) APILogGroup() string              { return "/aws/apigateway/" + n.API() }

// The delivery: what takes changed sources to the alias of a function.
func (n Names) Repository() string   { return n.of("functions") }
func (n Names) Application() string  { return n.of("functions") }
func (n Names) Pipeline() string     { return n.of("delivery") }
func (n Names) BuildProject() string { return n.of("build") } // and its role

// DeployProject is the project of the Deploy stage, and its role.
func (n Names) DeployProject() string { return n.of("deploy") }
func (n Names) PipelineRole() string  { return n.of("pipeline") }

// DeploymentRole is what CodeDeploy shifts aliases as.
func (n Names) DeploymentRole() string { return n.of("codedeploy") }

// DeploymentGroup is the group of one of FunctionNames.
func (n Names) DeploymentGroup(f string) string       { return n.Function(f) }
func (n Names) ProjectLogGroup(project string) string { return "/aws/codebuild/" + project }

// Roles lists all roles of the stack.
func (n Names) Roles() []string {
	roles := []string{n.WorkflowRole(), n.RuleRole(), n.PipelineRole(), n.BuildProject(), n.DeployProject(), n.DeploymentRole()}
	for _, f := range FunctionNames() {
		roles = append(roles, n.Function(f))
	}
	return roles
}

// LogGroups lists all log groups of the stack.
func (n Names) LogGroups() []string {
	var groups []string
	for _, f := range FunctionNames() {
		groups = append(groups, n.FunctionLogGroup(f))
	}
	return append(groups, n.WorkflowLogGroup(), n.APILogGroup(), n.ProjectLogGroup(n.BuildProject()), n.ProjectLogGroup(n.DeployProject()))
}

// Bucket carries account and region, as bucket names are global.
func (n Names) Bucket() string {
	return fmt.Sprintf("%s-artifacts-%s-%s", n.Name, n.Account, n.Region)
}

func (n Names) arn(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", n.Partition(), service, n.Region, n.Account, resource)
}

// Partition is the part of AWS that the region lies in.
func (n Names) Partition() string {
	switch {
	case len(n.Region) > 3 && n.Region[:3] == "cn-":
		return "aws-cn"
	case len(n.Region) > 7 && n.Region[:7] == "us-gov-":
		return "aws-us-gov"
	}
	return "aws"
}

func (n Names) TableARN(table string) string { return n.arn("dynamodb", "table/"+table) }
func (n Names) QueueARN(queue string) string { return n.arn("sqs", queue) }
func (n Names) TopicARN() string             { return n.arn("sns", n.Topic()) }
func (n Names) TopicARNOf(t string) string   { return n.arn("sns", t) }
func (n Names) FunctionARN(f string) string  { return n.arn("lambda", "function:"+n.Function(f)) }
func (n Names) AliasARN(f string) string     { return n.FunctionARN(f) + ":" + LiveAlias }
func (n Names) BusARN() string               { return n.arn("events", "event-bus/"+n.Bus()) }

// RuleARN has the form of a rule on a custom bus.
func (n Names) RuleARN() string { return n.arn("events", "rule/"+n.Bus()+"/"+n.Rule()) }

func (n Names) StateMachineARN() string { return n.arn("states", "stateMachine:"+n.StateMachine()) }

func (n Names) RepositoryARN() string  { return n.arn("codecommit", n.Repository()) }
func (n Names) PipelineARN() string    { return n.arn("codepipeline", n.Pipeline()) }
func (n Names) ApplicationARN() string { return n.arn("codedeploy", "application:"+n.Application()) }

func (n Names) ProjectARN(project string) string { return n.arn("codebuild", "project/"+project) }
func (n Names) DeploymentGroupARN(f string) string {
	return n.arn("codedeploy", "deploymentgroup:"+n.Application()+"/"+n.DeploymentGroup(f))
}

// DeploymentConfigARN is that of a configuration of the account, or of one of
// CodeDeploy's own.
func (n Names) DeploymentConfigARN(config string) string {
	return n.arn("codedeploy", "deploymentconfig:"+config)
}

// HookARN matches the functions that deployments may call, to judge a version
// before and after it serves: "CodeDeployHook_<stack>-...", as the prefix is
// what AWS's own policies for CodeDeploy go by.
func (n Names) HookARN() string { return n.arn("lambda", "function:"+n.HookPrefix()+"*") }

// HookPrefix begins the names of hook functions.
func (n Names) HookPrefix() string { return "CodeDeployHook_" + n.of("") }

// LogGroupARN comes without the ":*" that some services append.
func (n Names) LogGroupARN(group string) string { return n.arn("logs", "log-group:"+group) }

func (n Names) RoleARN(role string) string {
	return fmt.Sprintf("arn:%s:iam::%s:role%s%s", n.Partition(), n.Account, n.RolePath(), role)
}

func (n Names) BucketARN() string { return "arn:" + n.Partition() + ":s3:::" + n.Bucket() }

func (n Names) rootARN() string { return "arn:" + n.Partition() + ":iam::" + n.Account + ":root" }
