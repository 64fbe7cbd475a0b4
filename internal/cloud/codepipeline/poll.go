package codepipeline

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// pollKind are the tasks that look for new revisions, one for each pipeline
// with sources that are not declared PollForSourceChanges "false".
// https://docs.aws.amazon.com/codepipeline/latest/userguide/PollForSourceChanges-defaults.html
const pollKind = "codepipeline.poll"

const pollEvery = time.Minute

// A polling is what a poll is about.
type polling struct {
	Region   string `json:"region"`
	Pipeline string `json:"pipeline"`
}

func polled(a types.ActionDeclaration) bool {
	return a.Configuration["PollForSourceChanges"] != "false"
}

// watch sets off the polls of a pipeline, if it has sources to poll.
func (s *Service) watch(tx *store.Tx, region string, d types.PipelineDeclaration) error {
	id := pipelineKey(region, *d.Name)
	if !slices.ContainsFunc(d.Stages[0].Actions, polled) {
		return s.Tasks.Finish(tx, pollKind, id)
	}
	return s.Tasks.Send(tx, event.Task{Kind: pollKind, ID: id, Due: time.Now().Add(pollEvery), Body: encode(polling{region, *d.Name})})
}

// poll looks for new revisions of a pipeline's sources, as its role.
func (s *Service) poll(ctx context.Context, t event.Task) event.Result {
	var at polling
	if err := json.Unmarshal(t.Body, &at); err != nil {
		s.Log.Error("poll cannot be read", "error", err)
		return event.Done()
	}
	var d types.PipelineDeclaration
	err := s.DB.View(func(tx *store.Tx) error {
		p, err := s.load(tx, at.Region, at.Pipeline)
		if err == nil {
			d, err = declaration(tx, at.Region, at.Pipeline, p.Version)
		}
		return err
	})
	if _, gone := errors.AsType[*types.PipelineNotFoundException](err); gone {
		return event.Done()
	}
	for _, a := range d.Stages[0].Actions {
		if err == nil && polled(a) {
			err = s.pollSource(ctx, at, d, a)
		}
	}
	if err != nil && ctx.Err() == nil {
		s.Log.Warn("sources could not be polled", "pipeline", at.Pipeline, "error", err)
	}
	return event.Retry(pollEvery)
}

// pollSource starts an execution if a source has a revision that is new.
func (s *Service) pollSource(ctx context.Context, at polling, d types.PipelineDeclaration, a types.ActionDeclaration) error {
	role := d.RoleArn
	if a.RoleArn != nil {
		role = a.RoleArn
	}
	j := &job{Service: s, x: execution{Region: at.Region, Pipeline: at.Pipeline}, run: run{Role: *role, Resolved: a.Configuration}}
	if err := j.assume(ctx); err != nil {
		return err
	}
	newest, err := j.newest(ctx)
	if err != nil {
		return err
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		p, err := s.load(tx, at.Region, at.Pipeline)
		if err != nil || p.Seen[*a.Name] == newest || p.Version != *d.Version {
			return err
		}
		if p.Seen == nil {
			p.Seen = map[string]string{}
		}
		p.Seen[*a.Name] = newest
		known, err := p.known(tx, d, a)
		if err != nil || known == newest {
			return errors.Join(err, s.save(tx, &p))
		}
		_, err = s.begin(tx, &p, d, types.ExecutionTrigger{TriggerType: types.TriggerTypePollForSourceChanges, TriggerDetail: a.Name}, nil, nil)
		return err
	})
}

// newest is the revision that a source would have now.
func (j *job) newest(ctx context.Context) (string, error) {
	c := j.run.Resolved
	if c["RepositoryName"] != "" {
		return j.tip(ctx, c["RepositoryName"], c["BranchName"])
	}
	out, err := wire.Do[s3.HeadObjectOutput](ctx, j.Caller, j.as, &s3.HeadObjectInput{Bucket: new(c["S3Bucket"]), Key: new(c["S3ObjectKey"])})
	if err != nil {
		return "", refused("The object with key '"+c["S3ObjectKey"]+"' in bucket '"+c["S3Bucket"]+"' could not be read", err)
	}
	return aws.ToString(out.VersionId), nil
}

// known is the revision that a source action found last.
func (p *pipeline) known(tx *store.Tx, d types.PipelineDeclaration, a types.ActionDeclaration) (string, error) {
	ref, ok := p.gate(*d.Stages[0].Name).Runs[*a.Name]
	if !ok {
		return "", nil
	}
	x, err := loadExecution(tx, p.Region, p.Name, ref.Execution)
	if r := x.run(ref.Run); err == nil && r != nil && r.Revision != nil {
		return *r.Revision.RevisionId, nil
	}
	return "", err
}
