package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	deploytypes "github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"
)

// A cloud is one function behind an alias, and one deployment group.
type cloud struct {
	mu       sync.Mutex
	latest   string   // code
	versions []string // code of version 1, 2, ...
	alias    int
	weighted map[string]float64
	settles  time.Time // $LATEST takes changes from then on

	busy     int  // CreateDeployment refuses so many times
	fails    bool // deployments fail, and are rolled back
	takes    time.Duration
	running  bool // somebody else's deployment
	spec     string
	deployed int
	began    time.Time
	stopped  bool
}

func sha(code string) *string {
	sum := sha256.Sum256([]byte(code))
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

func (c *cloud) GetAlias(context.Context, *lambda.GetAliasInput, ...func(*lambda.Options)) (*lambda.GetAliasOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &lambda.GetAliasOutput{FunctionVersion: aws.String(strconv.Itoa(c.alias))}
	if len(c.weighted) > 0 {
		out.RoutingConfig = &types.AliasRoutingConfiguration{AdditionalVersionWeights: c.weighted}
	}
	return out, nil
}

func (c *cloud) UpdateAlias(_ context.Context, in *lambda.UpdateAliasInput, _ ...func(*lambda.Options)) (*lambda.UpdateAliasOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alias, _ = strconv.Atoi(*in.FunctionVersion)
	c.weighted = in.RoutingConfig.AdditionalVersionWeights
	return &lambda.UpdateAliasOutput{}, nil
}

func (c *cloud) GetFunctionConfiguration(_ context.Context, in *lambda.GetFunctionConfigurationInput, _ ...func(*lambda.Options)) (*lambda.GetFunctionConfigurationOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	code := c.latest
	switch q := aws.ToString(in.Qualifier); q {
	case "":
	case "live":
		code = c.versions[c.alias-1]
	default:
		n, _ := strconv.Atoi(q)
		code = c.versions[n-1]
	}
	out := &lambda.GetFunctionConfigurationOutput{CodeSha256: sha(code), State: types.StateActive, LastUpdateStatus: types.LastUpdateStatusSuccessful}
	if time.Now().Before(c.settles) {
		out.LastUpdateStatus = types.LastUpdateStatusInProgress
	}
	return out, nil
}

func (c *cloud) UpdateFunctionCode(_ context.Context, in *lambda.UpdateFunctionCodeInput, _ ...func(*lambda.Options)) (*lambda.UpdateFunctionCodeOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.settles) {
		return nil, &types.ResourceConflictException{Message: aws.String("an update is in progress")}
	}
	c.latest = string(in.ZipFile)
	if in.Publish && c.versions[len(c.versions)-1] != c.latest {
		c.versions = append(c.versions, c.latest)
	}
	return &lambda.UpdateFunctionCodeOutput{Version: aws.String(strconv.Itoa(len(c.versions)))}, nil
}

func (c *cloud) CreateDeployment(_ context.Context, in *codedeploy.CreateDeploymentInput, _ ...func(*codedeploy.Options)) (*codedeploy.CreateDeploymentOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy > 0 {
		c.busy--
		return nil, &deploytypes.DeploymentLimitExceededException{Message: aws.String("one is active")}
	}
	c.spec, c.began = *in.Revision.AppSpecContent.Content, time.Now()
	c.deployed++
	return &codedeploy.CreateDeploymentOutput{DeploymentId: aws.String("d-1")}, nil
}

func (c *cloud) GetDeployment(context.Context, *codedeploy.GetDeploymentInput, ...func(*codedeploy.Options)) (*codedeploy.GetDeploymentOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info := &deploytypes.DeploymentInfo{Status: deploytypes.DeploymentStatusInProgress}
	switch {
	case time.Since(c.began) < c.takes:
	case c.fails:
		info.Status = deploytypes.DeploymentStatusFailed
		info.ErrorInformation = &deploytypes.ErrorInformation{Code: deploytypes.ErrorCodeHookExecutionFailure, Message: aws.String("a hook said no")}
		info.RollbackInfo = &deploytypes.RollbackInfo{RollbackDeploymentId: aws.String("d-2")}
	default:
		info.Status = deploytypes.DeploymentStatusSucceeded
		c.alias = len(c.versions)
	}
	return &codedeploy.GetDeploymentOutput{DeploymentInfo: info}, nil
}

func (c *cloud) ListDeployments(context.Context, *codedeploy.ListDeploymentsInput, ...func(*codedeploy.Options)) (*codedeploy.ListDeploymentsOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &codedeploy.ListDeploymentsOutput{}
	if c.running {
		c.running = false // it ends after one look
		out.Deployments = []string{"d-0"}
	}
	return out, nil
}

func (c *cloud) StopDeployment(context.Context, *codedeploy.StopDeploymentInput, ...func(*codedeploy.Options)) (*codedeploy.StopDeploymentOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	return &codedeploy.StopDeploymentOutput{}, nil
}

func (c *cloud) ListDeploymentTargets(context.Context, *codedeploy.ListDeploymentTargetsInput, ...func(*codedeploy.Options)) (*codedeploy.ListDeploymentTargetsOutput, error) {
	return &codedeploy.ListDeploymentTargetsOutput{TargetIds: []string{"shop-a:live"}}, nil
}

func (c *cloud) BatchGetDeploymentTargets(context.Context, *codedeploy.BatchGetDeploymentTargetsInput, ...func(*codedeploy.Options)) (*codedeploy.BatchGetDeploymentTargetsOutput, error) {
	return &codedeploy.BatchGetDeploymentTargetsOutput{DeploymentTargets: []deploytypes.DeploymentTarget{{LambdaTarget: &deploytypes.LambdaTarget{
		LifecycleEvents: []deploytypes.LifecycleEvent{
			{LifecycleEventName: aws.String("BeforeAllowTraffic"), Status: deploytypes.LifecycleEventStatusFailed, Diagnostics: &deploytypes.Diagnostics{Message: aws.String("no stock")}},
			{LifecycleEventName: aws.String("AllowTraffic"), Status: deploytypes.LifecycleEventStatusSkipped},
		},
	}}}}, nil
}

const spec = "version: 0.0\n# ${comment}\nResources:\n  - ${Name}: {Alias: ${Alias}, From: ${CurrentVersion}, To: ${TargetVersion}}\n"

func (c *cloud) run(ctx context.Context, code string) (Outcome, error) {
	r := &Rollout{Lambda: c, CodeDeploy: c, Application: "shop-functions", Config: "CodeDeployDefault.LambdaAllAtOnce", Template: spec, Log: slog.New(slog.DiscardHandler)}
	out, err := r.Run(ctx, []Function{{Name: "shop-a", Alias: "live", Zip: []byte(code)}})
	return out[0], err
}

func TestRollout(t *testing.T) {
	for name, tc := range map[string]struct {
		cloud  *cloud
		want   Outcome
		latest string
		took   time.Duration // at least
	}{
		"what serves already is left alone": {
			cloud: &cloud{latest: "new", versions: []string{"old", "new"}, alias: 2},
			want:  Outcome{From: "2", To: "2"}, latest: "new",
		},
		"changed code is published and shifted to": {
			cloud: &cloud{latest: "old", versions: []string{"old"}, alias: 1},
			want:  Outcome{From: "1", To: "2", Deployment: "d-1"}, latest: "new",
		},
		"what an earlier attempt published is not published again": {
			cloud: &cloud{latest: "new", versions: []string{"old", "new"}, alias: 1},
			want:  Outcome{From: "1", To: "2", Deployment: "d-1"}, latest: "new",
		},
		"code that was taken back restores $LATEST without a version": {
			cloud: &cloud{latest: "bad", versions: []string{"new", "bad"}, alias: 1},
			want:  Outcome{From: "1", To: "1"}, latest: "new",
		},
		"a weighted alias is straightened once its deployment has ended": {
			cloud: &cloud{latest: "old", versions: []string{"old"}, alias: 1, weighted: map[string]float64{"1": 0.1}, running: true},
			want:  Outcome{From: "1", To: "2", Deployment: "d-1"}, latest: "new", took: time.Second,
		},
		"another deployment of the group is waited for": {
			cloud: &cloud{latest: "old", versions: []string{"old"}, alias: 1, busy: 2},
			want:  Outcome{From: "1", To: "2", Deployment: "d-1"}, latest: "new", took: 3 * time.Second,
		},
		"a function that is being updated is waited for": {
			cloud: &cloud{latest: "old", versions: []string{"old"}, alias: 1, settles: time.Date(2000, 1, 1, 0, 0, 5, 0, time.UTC)},
			want:  Outcome{From: "1", To: "2", Deployment: "d-1"}, latest: "new", took: 5 * time.Second,
		},
		"a deployment that takes long is waited for": {
			cloud: &cloud{latest: "old", versions: []string{"old"}, alias: 1, takes: time.Minute},
			want:  Outcome{From: "1", To: "2", Deployment: "d-1"}, latest: "new", took: time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the bubble's clock begins at midnight 2000-01-01
				c, began := tc.cloud, time.Now()
				got, err := c.run(t.Context(), "new")
				if err != nil {
					t.Fatal(err)
				}
				tc.want.Function = "shop-a"
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Error(d)
				}
				if c.latest != tc.latest || len(c.weighted) > 0 {
					t.Errorf("$LATEST is %q, the alias is weighted %v", c.latest, c.weighted)
				}
				if took := time.Since(began); took < tc.took {
					t.Errorf("took %v, want at least %v", took, tc.took)
				}
				if got.Deployment == "" {
					return
				}
				if want := fmt.Sprintf("{Alias: live, From: %s, To: %s}", got.From, got.To); !strings.Contains(c.spec, want) {
					t.Errorf("the AppSpec is %s", c.spec)
				}
			})
		})
	}
}

func TestFailedDeploymentTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{latest: "old", versions: []string{"old"}, alias: 1, fails: true}
		_, err := c.run(t.Context(), "new")
		if !errors.Is(err, ErrDeployment) {
			t.Fatal(err)
		}
		for _, part := range []string{"shop-a", "HOOK_EXECUTION_FAILURE", "a hook said no", "BeforeAllowTraffic failed: no stock", "rolled back by d-2"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not tell %q", err, part)
			}
		}
		if c.alias != 1 {
			t.Errorf("the alias is at %d", c.alias)
		}
	})
}

func TestDeploymentIsStoppedWithTheBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{latest: "old", versions: []string{"old"}, alias: 1, takes: time.Hour}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.run(ctx, "new"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if !c.stopped {
			t.Error("the deployment goes on")
		}
	})
}

func TestTemplate(t *testing.T) {
	values := Values{Name: "a", Alias: "live", CurrentVersion: "1", TargetVersion: "2"}
	for name, tc := range map[string]struct{ template, problem string }{
		"all are used":         {spec, ""},
		"one is missing":       {strings.ReplaceAll(spec, "${TargetVersion}", "3"), "does not use ${TargetVersion}"},
		"one is unknown":       {spec + "x: ${Region}\n", "unknown placeholder ${Region}"},
		"the template is void": {"", "does not use ${Alias}"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Template(tc.template).Render(values)
			if tc.problem == "" && err != nil || tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)) {
				t.Errorf("got %v, want %q", err, tc.problem)
			}
		})
	}
}
