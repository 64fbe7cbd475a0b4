// Package codebuild is CodeBuild: projects, and builds that run the phases of a
// buildspec in a fresh folder.
//
// https://docs.aws.amazon.com/codebuild/latest/APIReference/Welcome.html
package codebuild

import (
	"context"
	"log/slog"
	"maps"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Caller  wire.Caller
	Signals *event.Signals
	Log     *slog.Logger
	Account string
	// Dir is where builds have their folders.
	Dir string
	// Endpoint is the cloud's own URL, for the programs that builds run.
	Endpoint func() (string, error)
	// Archive zips a commit for sources of type CODECOMMIT; nil: there are none.
	Archive func(ctx context.Context, as wire.As, repository, commit string) ([]byte, error)
	// Parallel is how many builds run at a time; more are queued. 0: two.
	Parallel int
}

// A Service serves the projects and builds of all regions.
type Service struct{ Options }

// New makes the service.
func New(o Options) *Service {
	if o.Signals == nil {
		o.Signals = &event.Signals{}
	}
	if o.Parallel == 0 {
		o.Parallel = 2
	}
	return &Service{o}
}

// Register adds the operations and task handlers.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{
		Service: "codebuild", Protocol: wire.JSON11, Target: "CodeBuild_20161006", LowerFirst: true,
		Invalid: func(_ string, p []wire.Problem) error { return invalid("%s", wire.ProblemText(p)) },
	})
	s.registerProjects(api)
	s.registerBuilds(api)
	q.Handle(buildKind, s.Parallel, s.run)
	s.notices().Register(q)
}

// Tables. A build's id is "project:uuid".
const (
	projects = store.Table[projectRow]("codebuild.projects") // region/name
	builds   = store.Table[build]("codebuild.builds")        // region/id
	numbered = store.Table[string]("codebuild.numbered")     // region/project/number -> id
	tokens   = store.Table[string]("codebuild.tokens")       // region/project/token -> id
)

const nameRule = ` 2..150 [A-Za-z0-9][A-Za-z0-9\-_]+`

func (s *Service) arn(region, kind, name string) string {
	return "arn:aws:codebuild:" + region + ":" + s.Account + ":" + kind + "/" + name
}

// projectOf is the project's part of a build's id.
func projectOf(id string) string {
	if i := strings.LastIndexByte(id, '/'); strings.HasPrefix(id, "arn:") && i > 0 {
		id = id[i+1:]
	}
	name, _, _ := strings.Cut(id, ":")
	return name
}

// onProjects judges an operation on projects, by which builds are judged too.
func onProjects[In any](names func(*In) []string) wire.Option {
	return wire.On(func(c *wire.Call, in *In) (all []string) {
		for _, n := range names(in) {
			all = append(all, c.ARN("codebuild", "project/"+projectOf(n)))
		}
		return all
	})
}

// passes adds iam:PassRole, where a role is given.
func passes[In any](of func(*In) (name, role *string)) wire.Option {
	return wire.Needs(func(c *wire.Call, in *In) []authz.Access {
		name, role := of(in)
		all := []authz.Access{{Action: "codebuild:" + c.Op, Resource: c.ARN("codebuild", "project/"+*name)}}
		if role != nil {
			all = append(all, authz.Access{Action: "iam:PassRole", Resource: *role, Context: map[string][]string{"iam:PassedToService": {"codebuild.amazonaws.com"}}})
		}
		return all
	})
}

// Tagged lists the projects of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range projects.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			tags := map[string]string{}
			for _, t := range r.Value.Tags {
				tags[*t.Key] = deref(t.Value)
			}
			out[*r.Value.Arn] = tags
		}
		return nil
	})
}

// SetTags changes a project's tags.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 {
		return noProject(arn)
	}
	name := strings.TrimPrefix(p[5], "project/")
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		r, ok, err := projects.Get(tx, p[3]+"/"+name)
		if err != nil || !ok {
			if err == nil {
				err = noProject(name)
			}
			return err
		}
		tags := map[string]string{}
		for _, t := range r.Tags {
			tags[*t.Key] = deref(t.Value)
		}
		maps.Copy(tags, set)
		for _, k := range remove {
			delete(tags, k)
		}
		r.Tags = tagList(tags)
		return projects.Put(tx, p[3]+"/"+name, r)
	})
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// ListCuratedEnvironmentImages lists the images that builds may name. They run
// on this machine, whatever the image: what an image would bring must be here.
func (s *Service) ListCuratedEnvironmentImages(context.Context, *sdk.ListCuratedEnvironmentImagesInput) (*sdk.ListCuratedEnvironmentImagesOutput, error) {
	image := func(name string) types.EnvironmentImage {
		return types.EnvironmentImage{Name: &name, Description: new("runs on this machine"), Versions: []string{name}}
	}
	return &sdk.ListCuratedEnvironmentImagesOutput{Platforms: []types.EnvironmentPlatform{{
		Platform: types.PlatformTypeAmazonLinux,
		Languages: []types.EnvironmentLanguage{{Language: types.LanguageTypeGolang, Images: []types.EnvironmentImage{
			image("aws/codebuild/amazonlinux-x86_64-standard:5.0"), image("aws/codebuild/amazonlinux-aarch64-standard:3.0"),
		}}},
	}}}, nil
}
