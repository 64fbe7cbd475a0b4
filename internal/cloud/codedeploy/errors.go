package codedeploy

import (
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
)

const maxName = 100

// nameForm is what names of applications, groups and configurations may hold.
// https://docs.aws.amazon.com/codedeploy/latest/userguide/limits.html
var nameForm = regexp.MustCompile(`^[A-Za-z0-9._+=,@-]+$`)

func badName(what, name string) string {
	if len(name) > maxName {
		return what + " is too long: at most 100 characters are allowed"
	}
	return what + " contains invalid characters: only letters, numbers, periods, underscores, plus signs, equals signs, commas, at signs and minus signs are allowed: " + name
}

func validName(name string) bool { return len(name) <= maxName && nameForm.MatchString(name) }

func checkApp(name *string) error {
	switch {
	case aws.ToString(name) == "":
		return &types.ApplicationNameRequiredException{Message: new("Application name must be specified.")}
	case !validName(*name):
		return &types.InvalidApplicationNameException{Message: new(badName("Application name", *name))}
	}
	return nil
}

func checkGroup(name *string) error {
	switch {
	case aws.ToString(name) == "":
		return &types.DeploymentGroupNameRequiredException{Message: new("Deployment group name must be specified.")}
	case !validName(*name):
		return &types.InvalidDeploymentGroupNameException{Message: new(badName("Deployment group name", *name))}
	}
	return nil
}

func checkConfig(name *string) error {
	switch {
	case aws.ToString(name) == "":
		return &types.DeploymentConfigNameRequiredException{Message: new("Deployment configuration name must be specified.")}
	case !validName(*name):
		return &types.InvalidDeploymentConfigNameException{Message: new(badName("Deployment configuration name", *name))}
	}
	return nil
}

var idForm = regexp.MustCompile(`^d-[A-Z0-9]{9}$`)

func checkID(id *string) error {
	switch {
	case aws.ToString(id) == "":
		return &types.DeploymentIdRequiredException{Message: new("Deployment ID must be specified.")}
	case !idForm.MatchString(*id):
		return &types.InvalidDeploymentIdException{Message: new("Specified DeploymentId is not in the valid format: " + *id)}
	}
	return nil
}

func noApp(name string) error {
	return &types.ApplicationDoesNotExistException{Message: new("No application found for name: " + name)}
}

func noGroup(name string) error {
	return &types.DeploymentGroupDoesNotExistException{Message: new("No Deployment Group found for name: " + name)}
}

func noConfig(name string) error {
	return &types.DeploymentConfigDoesNotExistException{Message: new("No Deployment Configuration found for name: " + name)}
}

func noDeployment(id string) error {
	return &types.DeploymentDoesNotExistException{Message: new("The deployment " + id + " could not be found")}
}

func badRevision(text string) error { return &types.InvalidRevisionException{Message: new(text)} }

// pageSize is how many names a list answers at a time.
const pageSize = 100

// A pager cuts a list that is read in the order of its keys. Its token is the
// last key told, so that what comes or goes between two pages moves nothing.
type pager struct {
	n    int
	last string
	next *string
}

// openToken reads a token of the list whose keys begin with prefix; from is
// the key after which the list goes on.
func openToken(token *string, prefix string) (from string, err error) {
	if aws.ToString(token) == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*token)
	if err != nil || !strings.HasPrefix(string(b), prefix) {
		return "", &types.InvalidNextTokenException{Message: new("The next token is invalid: " + *token)}
	}
	return string(b), nil
}

// full tells that the page has no room for key, and notes where the next begins.
func (p *pager) full(k string) bool {
	if p.n == pageSize {
		p.next = new(base64.RawURLEncoding.EncodeToString([]byte(p.last)))
		return true
	}
	p.n, p.last = p.n+1, k
	return false
}
