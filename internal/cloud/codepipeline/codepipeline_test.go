package codepipeline

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	cbtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"miniforge/internal/cloud/wire"
)

const ok, bad = cbtypes.StatusTypeSucceeded, cbtypes.StatusTypeFailed

func TestAnExecutionGoesThroughAllStages(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		d.Stages[1].Actions[0].Namespace = new("B")
		d.Stages[1].Actions[0].Configuration[environmentKey] = `[{"name":"COMMIT","value":"#{Src.CommitId}"},{"name":"WHAT","value":"say \"#{Src.CommitMessage}\" in #{codepipeline.PipelineExecutionId}"}]`
		d.Stages[2].Actions[0].InputArtifacts = []types.InputArtifact{{Name: new("Source")}, {Name: new("Built")}}
		d.Stages[2].Actions[0].Configuration["PrimarySource"] = "Built"
		d.Stages[2].Actions[0].Configuration["BuildspecOverride"] = "deploy-#{B.VERSION}.yml"
		r.create(d)
		r.finish("compile:1", ok, cbtypes.ExportedEnvironmentVariable{Name: new("VERSION"), Value: new("7")})
		r.finish("deploy:1", ok)
		id := r.executions()[0]
		r.expect("status", r.statuses(), "Succeeded")
		r.expect("actions", r.runs(id), "Checkout Succeeded, compile Succeeded, deploy Succeeded")

		put := r.puts[0]
		if *put.SSEKMSKeyId != keyARN || !strings.HasPrefix(*put.Key, "shop/Source/") || string(r.objects["artifacts/"+*put.Key]) != "zip of shop at c1" {
			t.Errorf("source artifact: %s under %s", *put.Key, aws.ToString(put.SSEKMSKeyId))
		}
		first, second := r.starts[0], r.starts[1]
		r.expect("source of the build", *first.SourceLocationOverride, "artifacts/"+*put.Key)
		r.expect("artifact of the build", *first.ArtifactsOverride.Location+" "+*first.ArtifactsOverride.Path+" "+string(first.ArtifactsOverride.Packaging), "artifacts shop/Built ZIP")
		r.expect("environment", *first.EnvironmentVariablesOverride[0].Value+"; "+*first.EnvironmentVariablesOverride[1].Value, "c1; say \"change c1\" in "+id)
		r.expect("encryption key", *first.EncryptionKeyOverride, keyARN)
		r.expect("source of the deployment", *second.SourceLocationOverride, "artifacts/shop/Built/"+*first.ArtifactsOverride.Name)
		r.expect("its second source", *second.SecondarySourcesOverride[0].SourceIdentifier, "Source")
		r.expect("its buildspec", *second.BuildspecOverride, "deploy-7.yml")
		r.expect("its artifacts", string(second.ArtifactsOverride.Type), "NO_ARTIFACTS")

		src := r.last("Checkout")
		r.expect("a variable", src.Output.OutputVariables["AuthorDate"], "2019-10-29T03:32:21Z")
		e := must(r.GetPipelineExecution(r.ctx, &sdk.GetPipelineExecutionInput{PipelineName: new("shop"), PipelineExecutionId: &id})).PipelineExecution
		r.expect("revision", *e.ArtifactRevisions[0].Name+" "+*e.ArtifactRevisions[0].RevisionId, "Source c1")
		r.expect("trigger", string(e.Trigger.TriggerType)+" "+*e.Trigger.TriggerDetail, "CreatePipeline arn:aws:iam::123456789012:user/ann")
		r.expect("events", strings.Join(r.events, "\n"), `Pipeline STARTED
Stage Source STARTED
Action Source/Checkout STARTED
Action Source/Checkout SUCCEEDED
Stage Source SUCCEEDED
Stage Build STARTED
Action Build/compile STARTED
Action Build/compile SUCCEEDED
Stage Build SUCCEEDED
Stage Deploy STARTED
Action Deploy/deploy STARTED
Action Deploy/deploy SUCCEEDED
Stage Deploy SUCCEEDED
Pipeline SUCCEEDED`)
	})
}

func TestSeveralOutputsAreSecondaryArtifacts(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		d.Stages[1].Actions[0] = build("compile", "One", "Two")
		r.create(d)
		in := r.starts[0]
		if len(in.SecondaryArtifactsOverride) != 2 || in.ArtifactsOverride.Type != cbtypes.ArtifactsTypeNoArtifacts {
			t.Fatalf("%+v", in.ArtifactsOverride)
		}
		r.expect("identifier and path", *in.SecondaryArtifactsOverride[1].ArtifactIdentifier+" "+*in.SecondaryArtifactsOverride[1].Path, "Two shop/Two")
	})
}

func TestAFailureStopsItsStageAndCanBeRetried(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		d.Stages[1].Actions = append(d.Stages[1].Actions, build("lint"))
		later := build("pack")
		later.RunOrder = new(int32(2))
		d.Stages[1].Actions = append(d.Stages[1].Actions, later)
		r.create(d)
		r.finish("compile:1", bad)
		r.expect("while the other runs", r.statuses(), "InProgress")
		r.finish("lint:1", ok)
		id := r.executions()[0]
		r.expect("status", r.statuses(), "Failed")
		r.expect("actions", r.runs(id), "Checkout Succeeded, compile Failed, lint Succeeded")
		r.expect("why", said(r.last("compile")), "JobFailed: Build terminated with state: FAILED. Phase: BUILD, Code: COMMAND_EXECUTION_ERROR, Message: exit status 1")

		retry := &sdk.RetryStageExecutionInput{PipelineName: new("shop"), StageName: new("Build"), PipelineExecutionId: &id, RetryMode: types.StageRetryModeFailedActions}
		must(r.RetryStageExecution(r.ctx, retry))
		synctest.Wait()
		_, err := r.RetryStageExecution(r.ctx, retry)
		r.expect("retry of what runs", code(err), "ConflictException")
		r.finish("compile:2", ok)
		r.finish("pack:1", ok)
		r.finish("deploy:1", ok)
		r.expect("actions", r.runs(id), "Checkout Succeeded, compile Failed, lint Succeeded, compile Succeeded, pack Succeeded, deploy Succeeded")
		r.expect("status", r.statuses(), "Succeeded")
		state := must(r.GetPipelineState(r.ctx, &sdk.GetPipelineStateInput{Name: new("shop")}))
		if m := state.StageStates[1].RetryStageMetadata; m == nil || *m.ManualStageRetryAttempt != 1 {
			t.Errorf("retry metadata: %+v", m)
		}
		_, err = r.RetryStageExecution(r.ctx, retry)
		r.expect("retry of what succeeded", code(err), "StageNotRetryableException")
	})
}

func TestRetryingAllActions(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		d.Stages[1].Actions = append(d.Stages[1].Actions, build("lint"))
		r.create(d)
		r.finish("compile:1", bad)
		r.finish("lint:1", ok)
		id := r.executions()[0]
		must(r.RetryStageExecution(r.ctx, &sdk.RetryStageExecutionInput{PipelineName: new("shop"), StageName: new("Build"), PipelineExecutionId: &id, RetryMode: types.StageRetryModeAllActions}))
		synctest.Wait()
		r.expect("actions", r.runs(id), "Checkout Succeeded, compile Failed, lint Succeeded, compile InProgress, lint InProgress")
	})
}

func TestOnlyTheLatestExecutionIsRetried(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create(shop())
		r.finish("compile:1", bad)
		r.begin()
		first := r.executions()[0]
		_, err := r.RetryStageExecution(r.ctx, &sdk.RetryStageExecutionInput{PipelineName: new("shop"), StageName: new("Build"), PipelineExecutionId: &first, RetryMode: types.StageRetryModeFailedActions})
		r.expect("retry", code(err), "NotLatestPipelineExecutionException")
	})
}

func TestAStageDeclaredToRetryTriesOnceMore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		d.Stages[1].OnFailure = &types.FailureConditions{Result: types.ResultRetry}
		r.create(d)
		r.finish("compile:1", bad)
		r.expect("after one failure", r.statuses(), "InProgress")
		r.finish("compile:2", bad)
		r.expect("after two", r.statuses(), "Failed")
	})
}

func TestQueuedExecutionsKeepTheirOrder(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create(shop())
		r.begin()
		r.begin()
		r.expect("statuses", r.statuses(), "InProgress InProgress InProgress")
		if len(r.starts) != 1 {
			t.Fatalf("%d builds in a stage for one", len(r.starts))
		}
		in := must(r.GetPipelineState(r.ctx, &sdk.GetPipelineStateInput{Name: new("shop")})).StageStates[1].InboundExecutions
		if len(in) != 2 || *in[0].PipelineExecutionId != r.executions()[1] {
			t.Errorf("waiting: %+v", in)
		}
		r.finish("compile:1", bad) // a failure frees the stage
		r.finish("compile:2", ok)
		r.finish("deploy:1", ok)
		r.finish("compile:3", ok)
		r.finish("deploy:2", ok)
		r.expect("statuses", r.statuses(), "Failed Succeeded Succeeded")
	})
}

func TestANewerExecutionSupersedesOneThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		d.ExecutionMode = types.ExecutionModeSuperseded
		r.create(d)
		r.begin()
		r.begin()
		r.expect("statuses", r.statuses(), "InProgress Superseded InProgress")
		r.finish("compile:1", ok)
		r.finish("compile:2", ok)
		r.expect("the newest waits for the last stage", r.statuses(), "InProgress Superseded InProgress")
		r.finish("deploy:1", ok)
		r.finish("deploy:2", ok)
		r.expect("statuses", r.statuses(), "Succeeded Superseded Succeeded")
	})
}

func TestParallelExecutionsDoNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		d.ExecutionMode = types.ExecutionModeParallel
		r.create(d)
		r.begin()
		r.finish("compile:2", ok)
		r.finish("deploy:1", ok)
		r.expect("statuses", r.statuses(), "InProgress Succeeded")
	})
}

func TestStopping(t *testing.T) {
	stop := func(r *rig, id string, abandon bool) error {
		_, err := r.StopPipelineExecution(r.ctx, &sdk.StopPipelineExecutionInput{PipelineName: new("shop"), PipelineExecutionId: &id, Abandon: abandon, Reason: new("why not")})
		synctest.Wait()
		return err
	}
	t.Run("after the actions in progress", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.create(shop())
			id := r.executions()[0]
			must(0, stop(r, id, false))
			r.expect("statuses", r.statuses(), "Stopping")
			r.expect("again", code(stop(r, id, false)), "DuplicatedStopRequestException")
			r.finish("compile:1", ok)
			r.expect("statuses", r.statuses(), "Stopped")
			r.expect("actions", r.runs(id), "Checkout Succeeded, compile Succeeded")
			r.expect("once more", code(stop(r, id, false)), "PipelineExecutionNotStoppableException")
		})
	})
	t.Run("at once", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.create(shop())
			id := r.executions()[0]
			must(0, stop(r, id, true))
			r.expect("statuses", r.statuses(), "Stopped")
			r.expect("actions", r.runs(id), "Checkout Succeeded, compile Abandoned")
			r.expect("builds stopped", strings.Join(r.stopped, " "), "compile:1")
			must(r.RetryStageExecution(r.ctx, &sdk.RetryStageExecutionInput{PipelineName: new("shop"), StageName: new("Build"), PipelineExecutionId: &id, RetryMode: types.StageRetryModeFailedActions}))
			synctest.Wait()
			r.finish("compile:2", ok)
			r.finish("deploy:1", ok)
			r.expect("statuses after a retry", r.statuses(), "Succeeded")
		})
	})
	t.Run("while it waits", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.create(shop())
			id := r.begin()
			must(0, stop(r, id, false))
			r.expect("statuses", r.statuses(), "InProgress Stopped")
		})
	})
}

func TestABuildThatStartsTooLateIsStopped(t *testing.T) {
	for name, end := range map[string]func(*rig, string){
		"stop": func(r *rig, id string) {
			must(r.StopPipelineExecution(r.ctx, &sdk.StopPipelineExecutionInput{PipelineName: new("shop"), PipelineExecutionId: &id, Abandon: true}))
		},
		"delete": func(r *rig, _ string) { must(r.DeletePipeline(r.ctx, &sdk.DeletePipelineInput{Name: new("shop")})) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.refuse = func(in any) error {
					if _, start := in.(*codebuild.StartBuildInput); start {
						end(r, r.executions()[0])
					}
					return nil
				}
				r.create(shop())
				r.expect("builds stopped", strings.Join(r.stopped, " "), "compile:1")
			})
		})
	}
}

func TestADisabledTransitionKeepsExecutionsOut(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create(shop())
		must(r.DisableStageTransition(r.ctx, &sdk.DisableStageTransitionInput{PipelineName: new("shop"), StageName: new("Build"), TransitionType: types.StageTransitionTypeOutbound, Reason: new("freeze")}))
		r.finish("compile:1", ok)
		st := must(r.GetPipelineState(r.ctx, &sdk.GetPipelineStateInput{Name: new("shop")})).StageStates[2]
		if st.InboundTransitionState.Enabled || *st.InboundTransitionState.DisabledReason != "freeze" || st.InboundExecution == nil {
			t.Errorf("%+v", st)
		}
		must(r.EnableStageTransition(r.ctx, &sdk.EnableStageTransitionInput{PipelineName: new("shop"), StageName: new("Deploy"), TransitionType: types.StageTransitionTypeInbound}))
		synctest.Wait()
		r.finish("deploy:1", ok)
		r.expect("statuses", r.statuses(), "Succeeded")
	})
}

func TestARestartRepeatsNothing(t *testing.T) {
	for _, downtime := range []time.Duration{0, time.Hour} {
		bubble(t, func(t *testing.T, r *rig) {
			r.create(shop())
			r.stop()
			time.Sleep(downtime)
			r.boot()
			synctest.Wait()
			r.finish("compile:1", ok)
			r.stop()
			r.mu.Lock() // the build ends while nobody listens
			r.builds["deploy:1"].BuildStatus = ok
			r.mu.Unlock()
			r.boot()
			synctest.Wait()
			r.expect("statuses", r.statuses(), "Succeeded")
			r.expect("actions", r.runs(r.executions()[0]), "Checkout Succeeded, compile Succeeded, deploy Succeeded")
			if len(r.starts) != 2 || len(r.puts) != 1 {
				t.Errorf("%d builds, %d artifacts", len(r.starts), len(r.puts))
			}
		})
	}
}

func TestABuildStartedByACrashedTryIsFound(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		n := 0
		r.refuse = func(in any) error {
			if _, get := in.(*codebuild.BatchGetBuildsInput); get {
				if n++; n == 1 {
					return &wire.Error{Code: "InternalFailure", Message: "boom", Server: true}
				}
			}
			return nil
		}
		r.create(shop())
		time.Sleep(time.Minute)
		r.finish("compile:1", ok)
		if len(r.starts) != 2 {
			t.Errorf("%d builds", len(r.starts))
		}
	})
}

func TestFailuresOfServicesAreToldInTheirWords(t *testing.T) {
	deny := func(match func(any) bool, err error) func(any) error {
		return func(in any) error {
			if match(in) {
				return err
			}
			return nil
		}
	}
	isPut := func(in any) bool { _, put := in.(*s3.PutObjectInput); return put }
	isBuild := func(in any) bool { _, start := in.(*codebuild.StartBuildInput); return start }
	for name, c := range map[string]struct {
		refuse func(any) error
		change func(*types.PipelineDeclaration)
		action string
		want   string
	}{
		"no bucket": {refuse: deny(isPut, wire.Errorf("NoSuchBucket", "The specified bucket does not exist")), action: "Checkout", want: "ConfigurationError: The action could not upload the artifact Source to the S3 bucket artifacts"},
		"no key":    {refuse: deny(isPut, wire.Errorf("KMS.DisabledException", "key is disabled.")), action: "Checkout", want: "key is disabled. (Error Code: KMS.DisabledException)"},
		"no right":  {refuse: deny(isPut, wire.Errorf("AccessDenied", "Access Denied")), action: "Checkout", want: "PermissionError: "},
		"no build":  {refuse: deny(isBuild, wire.Errorf("AccessDeniedException", "User is not authorized to perform: codebuild:StartBuild")), action: "compile", want: "PermissionError: Error calling startBuild: User is not authorized"},
		"no branch": {change: func(d *types.PipelineDeclaration) { d.Stages[0].Actions[0].Configuration["BranchName"] = "other" }, action: "Checkout", want: "ConfigurationError: The action failed because no branch named other was found in the selected AWS CodeCommit repository shop."},
		"no variable": {change: func(d *types.PipelineDeclaration) {
			d.Stages[1].Actions[0].Configuration["BuildspecOverride"] = "#{Src.Nothing}"
		}, action: "compile", want: "ConfigurationError: action configuration BuildspecOverride: the variable #{Src.Nothing} could not be resolved"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.refuse = c.refuse
				d := shop()
				if c.change != nil {
					c.change(d)
				}
				r.create(d)
				a := r.last(c.action)
				if got := said(a); !strings.Contains(got, c.want) {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				if aws.ToString(a.Output.ExecutionResult.ExternalExecutionSummary) == "" {
					t.Error("no summary")
				}
				r.expect("statuses", r.statuses(), "Failed")
			})
		})
	}
}

func TestARoleThatIsLostFailsTheAction(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create(shop())
		r.mu.Lock()
		r.noRole = true
		r.mu.Unlock()
		r.finish("compile:1", ok)
		if got := said(r.last("deploy")); !strings.HasPrefix(got, "PermissionError: The provided role cannot be assumed") {
			t.Error(got)
		}
	})
}

func TestAnActionTimesOut(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		d.Stages[1].Actions[0].TimeoutInMinutes = new(int32(5))
		r.create(d)
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		r.expect("statuses", r.statuses(), "Failed")
		r.expect("why", said(r.last("compile")), "ActionTimedOut: The action timed out: it was not done after 5m0s")
		r.expect("builds stopped", strings.Join(r.stopped, " "), "compile:1")
	})
}

func TestTheSameTokenStartsOneExecution(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create(shop())
		in := &sdk.StartPipelineExecutionInput{Name: new("shop"), ClientRequestToken: new("t-1"), SourceRevisions: []types.SourceRevisionOverride{{ActionName: new("Checkout"), RevisionType: types.SourceRevisionTypeCommitId, RevisionValue: new("c0")}}}
		a, b := must(r.StartPipelineExecution(r.ctx, in)), must(r.StartPipelineExecution(r.ctx, in))
		synctest.Wait()
		r.expect("id", *b.PipelineExecutionId, *a.PipelineExecutionId)
		r.expect("statuses", r.statuses(), "InProgress InProgress")
		r.expect("revision", *must(r.ListPipelineExecutions(r.ctx, &sdk.ListPipelineExecutionsInput{PipelineName: new("shop")})).PipelineExecutionSummaries[0].SourceRevisions[0].RevisionId, "c0")
	})
}

func TestADeletedPipelineLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create(shop())
		must(r.DeletePipeline(r.ctx, &sdk.DeletePipelineInput{Name: new("shop")}))
		must(r.DeletePipeline(r.ctx, &sdk.DeletePipelineInput{Name: new("shop")}))
		synctest.Wait()
		_, err := r.GetPipelineState(r.ctx, &sdk.GetPipelineStateInput{Name: new("shop")})
		r.expect("state", code(err), "PipelineNotFoundException")
		r.create(shop())
		r.expect("statuses of the next of that name", r.statuses(), "InProgress")
	})
}

func TestRollingAStageBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.create(shop())
		r.finish("compile:1", ok)
		r.finish("deploy:1", ok)
		good := r.executions()[0]
		r.commit = "c2"
		r.begin()
		r.finish("compile:2", ok)
		r.finish("deploy:2", bad)
		out := must(r.RollbackStage(r.ctx, &sdk.RollbackStageInput{PipelineName: new("shop"), StageName: new("Deploy"), TargetPipelineExecutionId: &good}))
		synctest.Wait()
		r.expect("source", *r.starts[4].SourceLocationOverride, *r.starts[1].SourceLocationOverride)
		r.finish("deploy:3", ok)
		r.expect("statuses", r.statuses(), "Succeeded Failed Succeeded")
		e := must(r.GetPipelineExecution(r.ctx, &sdk.GetPipelineExecutionInput{PipelineName: new("shop"), PipelineExecutionId: out.PipelineExecutionId})).PipelineExecution
		r.expect("kind and target", string(e.ExecutionType)+" "+*e.RollbackMetadata.RollbackTargetPipelineExecutionId, "ROLLBACK "+good)
		_, err := r.RollbackStage(r.ctx, &sdk.RollbackStageInput{PipelineName: new("shop"), StageName: new("Deploy"), TargetPipelineExecutionId: new(r.executions()[1])})
		r.expect("to what failed", code(err), "UnableToRollbackStageException")
	})
}

func TestPolledSourcesStartAnExecution(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		d := shop()
		delete(d.Stages[0].Actions[0].Configuration, "PollForSourceChanges") // polled, then
		r.create(d)
		time.Sleep(5 * time.Minute)
		r.expect("nothing new", r.statuses(), "InProgress")
		r.mu.Lock()
		r.commit = "c2"
		r.mu.Unlock()
		time.Sleep(5 * time.Minute)
		r.expect("one new commit", r.statuses(), "InProgress InProgress")
		r.expect("trigger", string(must(r.ListPipelineExecutions(r.ctx, &sdk.ListPipelineExecutionsInput{PipelineName: new("shop")})).PipelineExecutionSummaries[0].Trigger.TriggerType), "PollForSourceChanges")
		d.Stages[0].Actions[0].Configuration["PollForSourceChanges"] = "false"
		must(r.UpdatePipeline(r.ctx, &sdk.UpdatePipelineInput{Pipeline: d}))
		r.mu.Lock()
		r.commit = "c3"
		r.mu.Unlock()
		time.Sleep(5 * time.Minute)
		r.expect("polled no longer", r.statuses(), "InProgress InProgress")
	})
}
