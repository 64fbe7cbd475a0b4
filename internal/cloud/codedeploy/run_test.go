package codedeploy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/cloud/wire"
)

func TestAllAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		id := r.deploy("", spec(1, 2))
		r.is(id, types.DeploymentStatusSucceeded, "")
		if d := cmp.Diff([]string{"2"}, r.moves); d != "" {
			t.Error("the alias's moves", d)
		}
		if d := cmp.Diff([]string{"BeforeAllowTraffic Succeeded", "AllowTraffic Succeeded", "AfterAllowTraffic Succeeded"}, r.events(id)); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{"START", "SUCCESS"}, r.states); d != "" {
			t.Error("states told", d)
		}
		if len(r.told) != 1 || !strings.HasPrefix(r.told[0], "SUCCEEDED: ") {
			t.Errorf("the topic was told %q", r.told)
		}
		g := must(r.GetDeploymentGroup(r.ctx, &sdk.GetDeploymentGroupInput{ApplicationName: new("app"), DeploymentGroupName: new("g")})).DeploymentGroupInfo
		if *g.LastSuccessfulDeployment.DeploymentId != id || *g.LastAttemptedDeployment.DeploymentId != id {
			t.Errorf("the group knows %+v", g)
		}
	})
}

func TestTrafficShiftsByTime(t *testing.T) {
	for config, want := range map[string]map[time.Duration]string{
		"LambdaCanary10Percent5Minutes": {0: "1+0.1*2", 5*time.Minute - time.Second: "1+0.1*2", 5*time.Minute + time.Second: "2"},
		"LambdaLinear10PercentEvery2Minutes": {
			0: "1+0.1*2", 2*time.Minute - time.Second: "1+0.1*2", 2*time.Minute + time.Second: "1+0.2*2", 16*time.Minute + time.Second: "1+0.9*2", 18*time.Minute + time.Second: "2",
		},
	} {
		t.Run(config, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				id, begin := r.deploy(config, spec(1, 2)), time.Now()
				for _, at := range slices.Sorted(func(yield func(time.Duration) bool) {
					for k := range want {
						if !yield(k) {
							return
						}
					}
				}) {
					time.Sleep(time.Until(begin.Add(at)))
					if got := r.alias(); got != want[at] {
						t.Errorf("after %v the alias is %s, want %s", at, got, want[at])
					}
				}
				r.is(id, types.DeploymentStatusSucceeded, "")
			})
		})
	}
}

func TestDeploymentGoesOnAfterRestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		id := r.deploy("LambdaCanary10Percent5Minutes", spec(1, 2, "AfterAllowTraffic: after"))
		time.Sleep(time.Minute)
		r.stop()
		time.Sleep(time.Hour)
		if got := r.alias(); got != "1+0.1*2" {
			t.Fatalf("the alias moved to %s without a process", got)
		}
		r.boot()
		if got := r.alias(); got != "2" {
			t.Fatalf("the alias is %s", got)
		}
		r.is(id, types.DeploymentStatusInProgress, "")
		r.stop()
		r.boot()
		if err := r.answer(0, types.LifecycleEventStatusSucceeded); err != nil {
			t.Fatal(err)
		}
		r.is(id, types.DeploymentStatusSucceeded, "")
		if len(r.hooks) != 1 || !slices.Equal(r.moves, []string{"1+0.1*2", "2"}) {
			t.Errorf("hooks %v, moves %v", r.hooks, r.moves)
		}
	})
}

func TestHooks(t *testing.T) {
	const before, after = "BeforeAllowTraffic: pre", "AfterAllowTraffic: post"
	for name, c := range map[string]struct {
		answers []types.LifecycleEventStatus
		wait    time.Duration
		status  types.DeploymentStatus
		because types.ErrorCode
		alias   string
		events  []string
	}{
		"both succeed": {
			[]types.LifecycleEventStatus{types.LifecycleEventStatusSucceeded, types.LifecycleEventStatusSucceeded}, 0,
			types.DeploymentStatusSucceeded, "", "2", []string{"BeforeAllowTraffic Succeeded", "AllowTraffic Succeeded", "AfterAllowTraffic Succeeded"},
		},
		"the first fails": {
			[]types.LifecycleEventStatus{types.LifecycleEventStatusFailed}, 0,
			types.DeploymentStatusFailed, types.ErrorCodeHookExecutionFailure, "1", []string{"BeforeAllowTraffic Failed", "AllowTraffic Skipped", "AfterAllowTraffic Skipped"},
		},
		"the last fails": {
			[]types.LifecycleEventStatus{types.LifecycleEventStatusSucceeded, types.LifecycleEventStatusFailed}, 0,
			types.DeploymentStatusFailed, types.ErrorCodeHookExecutionFailure, "1", []string{"BeforeAllowTraffic Succeeded", "AllowTraffic Succeeded", "AfterAllowTraffic Failed"},
		},
		"the last is still silent after most of an hour": {
			[]types.LifecycleEventStatus{types.LifecycleEventStatusSucceeded}, 59 * time.Minute,
			types.DeploymentStatusInProgress, "", "2", []string{"BeforeAllowTraffic Succeeded", "AllowTraffic Succeeded", "AfterAllowTraffic InProgress"},
		},
		"the last is silent for an hour": {
			[]types.LifecycleEventStatus{types.LifecycleEventStatusSucceeded}, time.Hour + time.Second,
			types.DeploymentStatusFailed, types.ErrorCodeTimeout, "1", []string{"BeforeAllowTraffic Succeeded", "AllowTraffic Succeeded", "AfterAllowTraffic Failed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				id := r.deploy("", spec(1, 2, before, after))
				for i, a := range c.answers {
					if err := r.answer(i, a); err != nil {
						t.Fatal(err)
					}
					if err := r.answer(i, a); code(err) != "LifecycleEventAlreadyCompletedException" {
						t.Errorf("a second answer: %v", err)
					}
				}
				time.Sleep(c.wait)
				r.is(id, c.status, c.because)
				if got := r.alias(); got != c.alias {
					t.Errorf("the alias is %s, want %s", got, c.alias)
				}
				if d := cmp.Diff(c.events, r.events(id)); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

func TestHookThatCannotBeInvoked(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.fault = func(in any) error {
			if _, ok := in.(*lambda.InvokeInput); ok {
				return &lambdatypes.ResourceNotFoundException{Message: new("Function not found: pre")}
			}
			return nil
		}
		id := r.deploy("", spec(1, 2, "BeforeAllowTraffic: pre"))
		r.is(id, types.DeploymentStatusFailed, types.ErrorCodeHookExecutionFailure)
		if len(r.moves) != 0 {
			t.Errorf("the alias moved: %v", r.moves)
		}
	})
}

func TestRollback(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		good := r.deploy("", spec(1, 2))
		r.is(good, types.DeploymentStatusSucceeded, "")
		bad := r.deploy("LambdaCanary10Percent30Minutes", spec(2, 3, "AfterAllowTraffic: post"))
		time.Sleep(31 * time.Minute)
		if got := r.alias(); got != "3" {
			t.Fatalf("the alias is %s", got)
		}
		if err := r.answer(0, types.LifecycleEventStatusFailed); err != nil {
			t.Fatal(err)
		}
		r.is(bad, types.DeploymentStatusFailed, types.ErrorCodeHookExecutionFailure)
		back := r.info(bad).RollbackInfo.RollbackDeploymentId
		if back == nil {
			t.Fatal("no rollback was made")
		}
		r.is(*back, types.DeploymentStatusSucceeded, "")
		d := r.info(*back)
		if d.Creator != types.DeploymentCreatorCodeDeployRollback || *d.RollbackInfo.RollbackTriggeringDeploymentId != bad {
			t.Errorf("the rollback is %+v", d)
		}
		if want := r.info(good).Revision; *d.Revision.AppSpecContent.Sha256 != *want.AppSpecContent.Sha256 {
			t.Error("the rollback's revision is not the last good one")
		}
		if got := r.alias(); got != "2" {
			t.Errorf("the alias is %s", got)
		}
		if !slices.ContainsFunc(r.told, func(s string) bool { return strings.HasPrefix(s, "ROLLEDBACK: ") }) {
			t.Errorf("the topic was told %q", r.told)
		}
	})
}

// A revision that is wrong about where the alias is must not lead a rollback.
func TestRollbackOfNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.is(r.deploy("", spec(1, 2)), types.DeploymentStatusSucceeded, "")
		bad := r.deploy("", spec(1, 3))
		r.is(bad, types.DeploymentStatusFailed, types.ErrorCodeInvalidLambdaConfiguration)
		if d := r.info(bad); d.RollbackInfo.RollbackDeploymentId != nil || *d.RollbackInfo.RollbackMessage == "" {
			t.Errorf("%+v", d.RollbackInfo)
		}
		if got := r.alias(); got != "2" {
			t.Errorf("the alias is %s", got)
		}
	})
}

func TestStop(t *testing.T) {
	for name, c := range map[string]struct {
		rollback *bool
		answer   types.StopStatus
		alias    string
	}{
		"as the group says":      {nil, types.StopStatusPending, "1"},
		"with rollback":          {new(true), types.StopStatusPending, "1"},
		"without, it stays half": {new(false), types.StopStatusSucceeded, "1+0.1*2"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				id := r.deploy("LambdaCanary10Percent5Minutes", spec(1, 2))
				time.Sleep(time.Minute)
				out := must(r.StopDeployment(r.ctx, &sdk.StopDeploymentInput{DeploymentId: &id, AutoRollbackEnabled: c.rollback}))
				if out.Status != c.answer {
					t.Errorf("the answer is %s", out.Status)
				}
				r.is(id, types.DeploymentStatusStopped, types.ErrorCodeManualStop)
				time.Sleep(time.Hour)
				if got := r.alias(); got != c.alias {
					t.Errorf("the alias is %s, want %s", got, c.alias)
				}
				if _, err := r.StopDeployment(r.ctx, &sdk.StopDeploymentInput{DeploymentId: &id}); code(err) != "DeploymentAlreadyCompletedException" {
					t.Errorf("a second stop: %v", err)
				}
				next := r.deploy("", spec(1, 2))
				if c.alias == "1" {
					r.is(next, types.DeploymentStatusSucceeded, "")
				} else {
					r.is(next, types.DeploymentStatusFailed, types.ErrorCodeInvalidLambdaConfiguration)
				}
			})
		})
	}
}

func TestOneDeploymentOfAGroup(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		id := r.deploy("LambdaCanary10Percent5Minutes", spec(1, 2))
		_, err := r.CreateDeployment(r.ctx, &sdk.CreateDeploymentInput{ApplicationName: new("app"), DeploymentGroupName: new("g"), Revision: spec(1, 3)})
		if code(err) != "DeploymentLimitExceededException" || !strings.Contains(err.Error(), id) {
			t.Errorf("a second deployment: %v", err)
		}
		time.Sleep(6 * time.Minute)
		r.is(r.deploy("", spec(2, 3)), types.DeploymentStatusSucceeded, "")
	})
}

func TestFailures(t *testing.T) {
	on := func(f func(in any) bool, err error) func(*rig) {
		return func(r *rig) {
			r.fault = func(in any) error {
				if f(in) {
					return err
				}
				return nil
			}
		}
	}
	reads := func(in any) bool { _, ok := in.(*lambda.GetAliasInput); return ok }
	fetches := func(in any) bool { _, ok := in.(*s3.GetObjectInput); return ok }
	writes := func(in any) bool { _, ok := in.(*lambda.UpdateAliasInput); return ok }
	for name, c := range map[string]struct {
		change func(*rig)
		rev    *types.RevisionLocation
		want   types.ErrorCode
	}{
		"alias elsewhere":     {func(r *rig) { r.version = "7" }, spec(1, 2), types.ErrorCodeInvalidLambdaConfiguration},
		"alias divided":       {func(r *rig) { r.weights = map[string]float64{"4": .5} }, spec(1, 2), types.ErrorCodeInvalidLambdaConfiguration},
		"same version":        {func(*rig) {}, spec(1, 1), types.ErrorCodeInvalidLambdaConfiguration},
		"no function":         {on(reads, &lambdatypes.ResourceNotFoundException{Message: new("Function not found: f")}), spec(1, 2), types.ErrorCodeInvalidLambdaFunction},
		"no alias":            {on(reads, &lambdatypes.ResourceNotFoundException{Message: new("Cannot find alias arn: f:live")}), spec(1, 2), types.ErrorCodeInvalidLambdaConfiguration},
		"no permission":       {on(writes, wire.Errorf("AccessDeniedException", "not authorized to perform: lambda:UpdateAlias")), spec(1, 2), types.ErrorCodeIamRolePermissions},
		"role not assumable":  {func(r *rig) { r.noRole = true }, spec(1, 2), types.ErrorCodeIamRolePermissions},
		"throttled for ever":  {on(writes, &lambdatypes.TooManyRequestsException{Message: new("Rate exceeded")}), spec(1, 2), types.ErrorCodeThrottled},
		"revision not there":  {on(fetches, wire.Errorf("NoSuchKey", "The specified key does not exist.")), inS3(), types.ErrorCodeRevisionMissing},
		"server always fails": {on(reads, &wire.Error{Code: "ServiceException", Message: "down", Server: true}), spec(1, 2), types.ErrorCodeInternalError},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				c.change(r)
				id := r.deploy("", c.rev)
				time.Sleep(time.Hour)
				r.is(id, types.DeploymentStatusFailed, c.want)
				if d := r.info(id); d.CompleteTime == nil || d.RollbackInfo == nil || *d.RollbackInfo.RollbackMessage == "" {
					t.Errorf("%+v", d)
				}
			})
		})
	}
}

func inS3() *types.RevisionLocation {
	return &types.RevisionLocation{RevisionType: types.RevisionLocationTypeS3, S3Location: &types.S3Location{Bucket: new("b"), Key: new("appspec.yml"), BundleType: types.BundleTypeYaml}}
}

func TestTransientFaultIsOvercome(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := 0
		r.fault = func(in any) error {
			if _, ok := in.(*lambda.UpdateAliasInput); ok && n < 3 {
				n++
				return &lambdatypes.TooManyRequestsException{Message: new("Rate exceeded")}
			}
			return nil
		}
		id := r.deploy("", spec(1, 2))
		time.Sleep(time.Minute)
		r.is(id, types.DeploymentStatusSucceeded, "")
	})
}

func TestAlarms(t *testing.T) {
	for name, ignore := range map[string]bool{"unknown alarms stop": false, "unless ignored": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				must(r.UpdateDeploymentGroup(r.ctx, &sdk.UpdateDeploymentGroupInput{
					ApplicationName: new("app"), CurrentDeploymentGroupName: new("g"),
					AlarmConfiguration: &types.AlarmConfiguration{Enabled: true, IgnorePollAlarmFailure: ignore, Alarms: []types.Alarm{{Name: new("errors")}}},
				}))
				id := r.deploy("", spec(1, 2))
				if ignore {
					r.is(id, types.DeploymentStatusSucceeded, "")
					return
				}
				r.is(id, types.DeploymentStatusStopped, types.ErrorCodeAlarmActive)
				if len(r.moves) != 0 {
					t.Errorf("the alias moved: %v", r.moves)
				}
			})
		})
	}
}

// Whatever happens to a deployment at whatever time, it ends, and the alias is
// on one version: the new one if it succeeded, the old one if not.
func TestAliasIsWhereTheDeploymentSays(t *testing.T) {
	ends := map[types.DeploymentStatus]int{}
	for seed := range uint64(300) {
		bubble(t, func(t *testing.T, r *rig) {
			rnd := rand.New(rand.NewPCG(seed, 1))   //nolint:gosec // a test's randomness
			calls := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // a test's randomness
			r.lost = func(any) bool { return calls.IntN(4) == 0 }
			configs := []string{"LambdaAllAtOnce", "LambdaCanary10Percent5Minutes", "LambdaLinear10PercentEvery1Minute"}
			id := r.deploy(configs[rnd.IntN(3)], spec(1, 2, "BeforeAllowTraffic: pre", "AfterAllowTraffic: post"))
			for answered := 0; r.info(id).CompleteTime == nil; {
				time.Sleep(time.Duration(rnd.IntN(100)) * time.Second)
				r.mu.Lock()
				asked := len(r.hooks)
				r.mu.Unlock()
				switch n := rnd.IntN(100); {
				case n < 30:
					r.stop()
					time.Sleep(time.Duration(rnd.IntN(10)) * time.Minute)
					r.boot()
				case n < 80 && asked > answered:
					status := types.LifecycleEventStatusSucceeded
					if rnd.IntN(4) == 0 {
						status = types.LifecycleEventStatusFailed
					}
					if err := r.answer(answered, status); err != nil && r.info(id).CompleteTime == nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					answered++
				case n > 97:
					if _, err := r.StopDeployment(r.ctx, &sdk.StopDeploymentInput{DeploymentId: &id}); err != nil && code(err) != "DeploymentAlreadyCompletedException" {
						t.Fatalf("seed %d: %v", seed, err)
					}
				}
			}
			d := r.info(id)
			ends[d.Status]++
			want := "1"
			if d.Status == types.DeploymentStatusSucceeded {
				want = "2"
			}
			if got := r.alias(); got != want {
				t.Errorf("seed %d: the deployment %s, and the alias is %s", seed, d.Status, got)
			}
		})
	}
	if len(ends) != 3 {
		t.Errorf("ends seen: %v", ends)
	}
}

func TestGroupDeletedUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		id := r.deploy("LambdaCanary10Percent5Minutes", spec(1, 2))
		synctest.Wait()
		must(r.DeleteApplication(r.ctx, &sdk.DeleteApplicationInput{ApplicationName: new("app")}))
		time.Sleep(time.Hour)
		if _, err := r.GetDeployment(r.ctx, &sdk.GetDeploymentInput{DeploymentId: &id}); code(err) != "DeploymentDoesNotExistException" {
			t.Error(err)
		}
		if got := r.alias(); got != "1+0.1*2" {
			t.Errorf("the alias is %s", got)
		}
	})
}
