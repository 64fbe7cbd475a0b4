// Package target says where the system lives: in the embedded cloud, at the
// URL of an AWS-compatible endpoint, or on AWS. What comes out is the same for
// all three, an aws.Config: nobody behind it knows which it is.
package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"miniforge/internal/target/local"
)

// The kinds of target, and how they are named.
const (
	Local = "local"
	AWS   = "aws"
)

var (
	// ErrTarget means that the target is not named rightly.
	ErrTarget = errors.New("target must be local, aws, or the URL of an AWS-compatible endpoint")
	// ErrUnreachable means that nothing answers at the endpoint.
	ErrUnreachable = errors.New("endpoint cannot be reached")
	// ErrCredentials means that there are no credentials, or that they are refused.
	ErrCredentials = errors.New("no usable credentials")
)

// Options say which target, and what the user wants of it.
type Options struct {
	// Target is "local", "aws" or a URL.
	Target string
	// Region and Profile, if not empty, override the SDK's own chain. A local
	// cloud has its own region and needs no profile.
	Region, Profile string
	// Folder is the state folder of the local cloud.
	Folder local.Folder
	// Command starts the embedded cloud in the background, see local.Folder.Start.
	Command []string
	// Start is what to do if the local cloud does not run.
	Start Start
	// Getenv reads the environment, for what the SDK's chain does not cover.
	Getenv func(string) string
}

// Start says when the local cloud may be started.
type Start int

// When the local cloud may be started.
const (
	StartNever  Start = iota
	StartKnown        // if it has been started before
	StartAlways       // making a new one if need be
)

// A Target is an endpoint that has answered with who we are.
type Target struct {
	Kind     string // "local", "url" or "aws"
	Endpoint string // URL; empty on AWS
	Account  string
	Region   string
	Config   aws.Config
	// HTTP is for requests that are not the SDK's: the stack's own HTTP API.
	HTTP *http.Client
	// GOOS and GOARCH are what functions are built for, and Architecture is
	// Lambda's name for the latter.
	GOOS, GOARCH, Architecture string
	// Local is the state of the local cloud.
	Local local.State
}

// Name is the target as a person would call it.
func (t *Target) Name() string {
	if t.Kind == AWS {
		return "AWS"
	}
	return t.Endpoint
}

// Parse checks the name of a target.
func Parse(name string) error {
	if name == Local || name == AWS {
		return nil
	}
	u, err := url.Parse(name)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%q: %w", name, ErrTarget)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return fmt.Errorf("%q: %w, without path, user or query", name, ErrTarget)
	case realAWS(u.Hostname()):
		return fmt.Errorf("%q is AWS itself: say --target aws to use a real account", name)
	}
	return nil
}

// Open returns the target once it has answered. Its errors wrap ErrTarget,
// ErrUnreachable, ErrCredentials or those of package local.
func Open(ctx context.Context, o Options) (*Target, error) {
	if err := Parse(o.Target); err != nil {
		return nil, err
	}
	var t *Target
	var err error
	switch o.Target {
	case Local:
		t, err = openLocal(ctx, o)
	case AWS:
		t, err = openAWS(ctx, o)
	default:
		t, err = openURL(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	t.Region = t.Config.Region
	return t, t.identify(ctx)
}

// identify asks the endpoint who we are: it proves the endpoint, the clock and
// the credentials before anything is built on them.
func (t *Target) identify(ctx context.Context) error {
	who, err := sts.NewFromConfig(t.Config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.Options) {
		o.RetryMaxAttempts = 2 // a person waits, and nothing is lost yet
	})
	if err != nil {
		return Explain(t.Name(), err)
	}
	t.Account = aws.ToString(who.Account)
	if t.Account == "" {
		return fmt.Errorf("ask %s who we are: it names no account", t.Name())
	}
	return nil
}

// functionsFor sets the platform of functions: this one's own where they run
// as processes of this machine, Linux elsewhere.
func (t *Target) functionsFor(goos, goarch string) {
	t.GOOS, t.GOARCH, t.Architecture = goos, goarch, "x86_64"
	if goarch == "arm64" {
		t.Architecture = "arm64"
	}
}

func openLocal(ctx context.Context, o Options) (*Target, error) {
	state, err := o.Folder.Running(ctx)
	known := errors.Is(err, local.ErrNotRunning)
	if known && o.Start >= StartKnown || errors.Is(err, local.ErrNeverStarted) && o.Start == StartAlways {
		state, err = o.Folder.Start(ctx, o.Command)
	}
	if err != nil {
		return nil, err
	}
	t := &Target{Kind: Local, Endpoint: state.Endpoint, Local: state}
	region := state.Region
	if o.Region != "" {
		region = o.Region // one cloud serves every region
	}
	// By hand, not by the SDK's chain: what the user's environment says about
	// AWS must neither reach nor break the local cloud.
	t.Config = guarded(aws.Config{
		Region: region, BaseEndpoint: aws.String(state.Endpoint), HTTPClient: newHTTPClient(false),
		Credentials: static(state.AccessKeyID, state.SecretAccessKey), Retryer: Retryer,
	})
	t.HTTP = guardedHTTP()
	t.functionsFor(runtime.GOOS, runtime.GOARCH)
	return t, nil
}

func openURL(ctx context.Context, o Options) (*Target, error) {
	endpoint := strings.TrimSuffix(o.Target, "/")
	t := &Target{Kind: "url", Endpoint: endpoint, HTTP: guardedHTTP()}
	cfg, err := loadConfig(ctx, o)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // as every emulator takes for granted
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		if o.Profile != "" || ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrCredentials, err)
		}
		cfg.Credentials = static("test", "test") // likewise
	}
	cfg.BaseEndpoint = aws.String(endpoint)
	// AWS_ENDPOINT_URL_<SERVICE> must not divert single services elsewhere.
	cfg.ConfigSources = nil
	t.Config = guarded(cfg)
	t.functionsFor("linux", architecture(o))
	return t, nil
}

func openAWS(ctx context.Context, o Options) (*Target, error) {
	if url := o.Getenv("AWS_ENDPOINT_URL"); url != "" {
		return nil, fmt.Errorf("%w: the target is aws, but AWS_ENDPOINT_URL=%s leads elsewhere; unset one of them", ErrTarget, url)
	}
	cfg, err := loadConfig(ctx, o)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("%w: no region; name one by --region or AWS_REGION", ErrTarget)
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w; set AWS_PROFILE or run aws configure", ErrCredentials, err)
	}
	t := &Target{Kind: AWS, Config: cfg, HTTP: &http.Client{}}
	t.functionsFor("linux", architecture(o))
	return t, nil
}

// architecture is what functions on another machine are built for; x86_64
// unless the user says otherwise, as not every endpoint runs arm64.
func architecture(o Options) string {
	if o.Getenv("MINIFORGE_GOARCH") == "arm64" {
		return "arm64"
	}
	return "amd64"
}
