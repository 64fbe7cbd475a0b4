package sfn

import (
	"context"
	"regexp"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// maxAliases is how many aliases a state machine may have.
const maxAliases = 100

// An alias leads to one version, or to two by weight.
type alias struct {
	ARN         string    `json:"arn"`
	Description string    `json:"description,omitempty"`
	Routes      []route   `json:"routes"`
	Created     time.Time `json:"created"`
	Updated     time.Time `json:"updated"`
}

type route struct {
	Version string `json:"version"` // ARN
	Weight  int32  `json:"weight"`  // percent
}

func (a *alias) name() string { return a.ARN[strings.LastIndexByte(a.ARN, ':')+1:] }

// pick chooses a version; random is from 0 up to 1.
func (a *alias) pick(random float64) string {
	if len(a.Routes) == 2 && random*100 >= float64(a.Routes[0].Weight) {
		return a.Routes[1].Version
	}
	return a.Routes[0].Version
}

func (a *alias) leadsTo(version string) bool {
	for _, r := range a.Routes {
		if r.Version == version {
			return true
		}
	}
	return false
}

func (s *Service) registerAliases(api *wire.API) {
	const routes = "RoutingConfiguration"
	elements := []string{routes + "[].StateMachineVersionArn! 1..256", routes + "[].Weight 0..100"}
	wire.Handle(api, s.CreateStateMachineAlias,
		on(func(in *sdk.CreateStateMachineAliasInput) *string {
			if len(in.RoutingConfiguration) == 0 || in.RoutingConfiguration[0].StateMachineVersionArn == nil {
				return nil
			}
			v := *in.RoutingConfiguration[0].StateMachineVersionArn
			if at := strings.LastIndexByte(v, ':'); at > 0 && in.Name != nil {
				v = v[:at] + ":" + *in.Name
			}
			return &v
		}),
		wire.Members(append(elements, "Name! 1..80", routes+"! 1..2", "Description 0..256")...))
	wire.Handle(api, s.UpdateStateMachineAlias, on(func(in *sdk.UpdateStateMachineAliasInput) *string { return in.StateMachineAliasArn }),
		wire.Members(append(elements, "StateMachineAliasArn! 1..256", routes+" 1..2", "Description 0..256")...))
	wire.Handle(api, s.DescribeStateMachineAlias, on(func(in *sdk.DescribeStateMachineAliasInput) *string { return in.StateMachineAliasArn }),
		wire.Members("StateMachineAliasArn! 1..256"))
	wire.Handle(api, s.ListStateMachineAliases, on(func(in *sdk.ListStateMachineAliasesInput) *string { return in.StateMachineArn }),
		wire.Members("StateMachineArn! 1..256", "MaxResults 0..1000", "NextToken 1..1024"))
	wire.Handle(api, s.DeleteStateMachineAlias, on(func(in *sdk.DeleteStateMachineAliasInput) *string { return in.StateMachineAliasArn }),
		wire.Members("StateMachineAliasArn! 1..256"))
}

var aliasForm = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

// routing checks where an alias is to lead: to versions of one machine, which
// is the result.
func (s *Service) routing(tx *store.Tx, in []types.RoutingConfigurationListItem) (routes []route, machine string, err error) {
	total := int32(0)
	for _, r := range in {
		a, err := s.parseARN(r.StateMachineVersionArn, "stateMachine")
		if err != nil {
			return nil, "", err
		}
		if _, ok, err := getVersion(tx, a.full); err != nil || !ok {
			return nil, "", first(err, noResource(a.full))
		}
		if machine != "" && machine != a.machine() {
			return nil, "", validation("Routing configuration must contain versions of the same state machine")
		}
		if len(routes) == 1 && routes[0].Version == a.full {
			return nil, "", validation("Routing configuration must not contain the same version twice")
		}
		machine = a.machine()
		total += r.Weight
		routes = append(routes, route{a.full, r.Weight})
	}
	if total != 100 {
		return nil, "", validation("Sum of routing configuration weights must equal 100")
	}
	_, err = s.usable(tx, machine)
	return routes, machine, err
}

// CreateStateMachineAlias makes an alias. The same request again is no error.
func (s *Service) CreateStateMachineAlias(ctx context.Context, in *sdk.CreateStateMachineAliasInput) (*sdk.CreateStateMachineAliasOutput, error) {
	if len(*in.Name) > 80 || !aliasForm.MatchString(*in.Name) || strings.IndexFunc(*in.Name, notDigit) < 0 {
		return nil, &types.InvalidName{Message: new("Invalid Name: '" + *in.Name + "'")}
	}
	out := &sdk.CreateStateMachineAliasOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		routes, machine, err := s.routing(tx, in.RoutingConfiguration)
		if err != nil {
			return err
		}
		a := alias{ARN: machine + ":" + *in.Name, Routes: routes, Created: s.now()}
		if in.Description != nil {
			a.Description = *in.Description
		}
		a.Updated = a.Created
		out.StateMachineAliasArn, out.CreationDate = &a.ARN, &a.Created
		count := 0
		for r, err := range aliases.Prefix(tx, machine+":") {
			if err != nil {
				return err
			}
			count++
			if was := r.Value; was.ARN == a.ARN {
				if was.Description != a.Description || !sameRoutes(was.Routes, a.Routes) {
					return conflict("Alias already exists with a different configuration: '" + a.ARN + "'")
				}
				out.CreationDate = &was.Created
				return nil
			}
		}
		if count >= maxAliases {
			return &types.ServiceQuotaExceededException{Message: new("The state machine has the maximum number of aliases")}
		}
		return aliases.Put(tx, a.ARN, a)
	})
}

func sameRoutes(a, b []route) bool {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// getAlias reads an alias by its ARN.
func (s *Service) getAlias(tx *store.Tx, text *string) (alias, error) {
	a, err := s.parseARN(text, "stateMachine")
	if err != nil {
		return alias{}, err
	}
	if a.rest == "" {
		return alias{}, invalidARN("The ARN must be that of an alias: " + a.full)
	}
	row, ok, err := aliases.Get(tx, a.full)
	if err != nil || !ok {
		return alias{}, first(err, noResource(a.full))
	}
	return row, nil
}

// UpdateStateMachineAlias changes what is given.
func (s *Service) UpdateStateMachineAlias(ctx context.Context, in *sdk.UpdateStateMachineAliasInput) (*sdk.UpdateStateMachineAliasOutput, error) {
	if in.Description == nil && in.RoutingConfiguration == nil {
		return nil, validation("Either the description or the routing configuration must be specified")
	}
	out := &sdk.UpdateStateMachineAliasOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		a, err := s.getAlias(tx, in.StateMachineAliasArn)
		if err != nil {
			return err
		}
		if in.RoutingConfiguration != nil {
			routes, machine, err := s.routing(tx, in.RoutingConfiguration)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(a.ARN, machine+":") {
				return validation("Routing configuration must contain versions of the alias' state machine")
			}
			a.Routes = routes
		}
		if in.Description != nil {
			a.Description = *in.Description
		}
		a.Updated = s.now()
		out.UpdateDate = &a.Updated
		return aliases.Put(tx, a.ARN, a)
	})
}

// DescribeStateMachineAlias tells where an alias leads.
func (s *Service) DescribeStateMachineAlias(_ context.Context, in *sdk.DescribeStateMachineAliasInput) (*sdk.DescribeStateMachineAliasOutput, error) {
	out := &sdk.DescribeStateMachineAliasOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		a, err := s.getAlias(tx, in.StateMachineAliasArn)
		if err != nil {
			return err
		}
		out.StateMachineAliasArn, out.Name, out.Description = &a.ARN, new(a.name()), optional(a.Description)
		out.CreationDate, out.UpdateDate = &a.Created, &a.Updated
		for _, r := range a.Routes {
			out.RoutingConfiguration = append(out.RoutingConfiguration, types.RoutingConfigurationListItem{StateMachineVersionArn: &r.Version, Weight: r.Weight})
		}
		return nil
	})
}

// ListStateMachineAliases lists a machine's aliases, or those of one version.
func (s *Service) ListStateMachineAliases(_ context.Context, in *sdk.ListStateMachineAliasesInput) (*sdk.ListStateMachineAliasesOutput, error) {
	a, err := s.parseARN(in.StateMachineArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	prefix := a.machine() + ":"
	from, err := decodeToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListStateMachineAliasesOutput{StateMachineAliases: []types.StateMachineAliasListItem{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, _, err := s.resolve(tx, a, 0); err != nil {
			return err
		}
		for r, err := range aliases.Range(tx, max(from, prefix), store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			row := r.Value
			if a.rest != "" && !row.leadsTo(a.full) {
				continue
			}
			if len(out.StateMachineAliases) == page(in.MaxResults) {
				out.NextToken = encodeToken(r.Key)
				return nil
			}
			out.StateMachineAliases = append(out.StateMachineAliases, types.StateMachineAliasListItem{StateMachineAliasArn: &row.ARN, CreationDate: &row.Created})
		}
		return nil
	})
}

// DeleteStateMachineAlias removes an alias.
func (s *Service) DeleteStateMachineAlias(ctx context.Context, in *sdk.DeleteStateMachineAliasInput) (*sdk.DeleteStateMachineAliasOutput, error) {
	return &sdk.DeleteStateMachineAliasOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		a, err := s.getAlias(tx, in.StateMachineAliasArn)
		if err != nil {
			return err
		}
		return aliases.Delete(tx, a.ARN)
	})
}
