package lambda

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// An asyncRow is how asynchronous invocations of a function, version or alias
// are retried and where their outcome goes.
type asyncRow struct {
	Modified  time.Time `json:"modified"`
	Retries   *int32    `json:"retries,omitempty"`
	Age       *int32    `json:"age,omitempty"` // seconds
	OnSuccess string    `json:"on_success,omitempty"`
	OnFailure string    `json:"on_failure,omitempty"`
}

func (a *asyncRow) retries() int {
	if a.Retries == nil {
		return asyncRetries
	}
	return int(*a.Retries)
}

func (a *asyncRow) age() time.Duration {
	if a.Age == nil {
		return asyncAge
	}
	return time.Duration(*a.Age) * time.Second
}

func (a *asyncRow) destination(success bool) string {
	if success {
		return a.OnSuccess
	}
	return a.OnFailure
}

func (a *asyncRow) describe(n name) types.FunctionEventInvokeConfig {
	c := types.FunctionEventInvokeConfig{
		FunctionArn: new(n.qualified(orLatest(n.qualifier))), LastModified: &a.Modified, MaximumRetryAttempts: a.Retries, MaximumEventAgeInSeconds: a.Age,
		DestinationConfig: &types.DestinationConfig{OnSuccess: &types.OnSuccess{}, OnFailure: &types.OnFailure{}},
	}
	c.DestinationConfig.OnSuccess.Destination, c.DestinationConfig.OnFailure.Destination = ptrIf(a.OnSuccess), ptrIf(a.OnFailure)
	return c
}

// asyncKey is the same for $LATEST and no qualifier.
func asyncKey(n name) string { return n.key() + "/" + orLatest(n.qualifier) }

// asyncPolicy is how events for a name are treated.
func (s *Service) asyncPolicy(n name) (*asyncRow, error) {
	a := &asyncRow{}
	err := s.DB.View(func(tx *store.Tx) error {
		row, ok, err := asyncs.Get(tx, asyncKey(n))
		if ok {
			a = &row
		}
		return err
	})
	return a, err
}

func (s *Service) registerAsync(api *wire.API) {
	const path = "/2019-09-25/functions/{FunctionName}/event-invoke-config"
	limits := []string{nameRule, qualifierRule, "MaximumRetryAttempts 0..2", "MaximumEventAgeInSeconds 60..21600"}
	qualifier := wire.QueryParam("Qualifier", "Qualifier")
	wire.Bind(api, "PUT "+path, s.PutFunctionEventInvokeConfig, qualifier, wire.Members(limits...),
		on(func(in *sdk.PutFunctionEventInvokeConfigInput) (f, q *string) { return in.FunctionName, in.Qualifier }))
	wire.Bind(api, "POST "+path, s.UpdateFunctionEventInvokeConfig, qualifier, wire.Members(limits...),
		on(func(in *sdk.UpdateFunctionEventInvokeConfigInput) (f, q *string) {
			return in.FunctionName, in.Qualifier
		}))
	wire.Bind(api, "GET "+path, s.GetFunctionEventInvokeConfig, qualifier, wire.Members(nameRule, qualifierRule),
		on(func(in *sdk.GetFunctionEventInvokeConfigInput) (f, q *string) { return in.FunctionName, in.Qualifier }))
	wire.Bind(api, "DELETE "+path, s.DeleteFunctionEventInvokeConfig, qualifier, wire.Status(204), wire.Members(nameRule, qualifierRule),
		on(func(in *sdk.DeleteFunctionEventInvokeConfigInput) (f, q *string) {
			return in.FunctionName, in.Qualifier
		}))
	wire.Bind(api, "GET "+path+"/list", s.ListFunctionEventInvokeConfigs, wire.QueryParam("Marker", "Marker"), wire.QueryParam("MaxItems", "MaxItems"), wire.Members(nameRule, "MaxItems 1..50"),
		on(func(in *sdk.ListFunctionEventInvokeConfigsInput) (f, q *string) { return in.FunctionName, nil }))
}

// setAsync replaces or, to merge, changes a configuration.
func (s *Service) setAsync(ctx context.Context, function, qualifier *string, retries, age *int32, d *types.DestinationConfig, merge bool) (c types.FunctionEventInvokeConfig, err error) {
	n, err := lookup(ctx, function, qualifier)
	if err != nil {
		return c, err
	}
	if retries == nil && age == nil && d == nil {
		return c, badValue("You must specify at least one of error handling or destination setting.")
	}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := findQualified(tx, n); err != nil {
			return notFoundInstead(err, "The function doesn't exist.")
		}
		row, ok, err := asyncs.Get(tx, asyncKey(n))
		if err != nil {
			return err
		}
		switch {
		case merge && !ok:
			return noAsync(n)
		case !merge:
			row = asyncRow{}
		}
		row.Modified = time.Now().Truncate(time.Millisecond)
		set(&row.Retries, retries)
		set(&row.Age, age)
		if err := row.setDestinations(n, d); err != nil {
			return err
		}
		c = row.describe(n)
		return asyncs.Put(tx, asyncKey(n), row)
	})
	return c, err
}

func (a *asyncRow) setDestinations(n name, d *types.DestinationConfig) error {
	if d == nil {
		return nil
	}
	var success, failure *string
	if d.OnSuccess != nil {
		success = d.OnSuccess.Destination
	}
	if d.OnFailure != nil {
		failure = d.OnFailure.Destination
	}
	for _, x := range []struct {
		have *string
		want *string
	}{{&a.OnSuccess, success}, {&a.OnFailure, failure}} {
		if x.want == nil {
			continue
		}
		if _, fn, _ := split(*x.want); strings.Contains(*x.want, ":lambda:") && fn == n.function {
			return badValue("You can't specify the function as a destination for itself.")
		}
		if p := strings.Split(*x.want, ":"); *x.want != "" && (len(p) < 6 || p[2] != "sqs" && p[2] != "sns" && p[2] != "lambda" && p[2] != "events") {
			return badValue("The provided destination config DestinationConfig(onSuccess=" + aws.ToString(success) + ", onFailure=" + aws.ToString(failure) + ") is invalid.")
		}
		*x.have = *x.want
	}
	return nil
}

func notFoundInstead(err error, text string) error {
	if isGone(err) {
		return notFound(text)
	}
	return err
}

func noAsync(n name) error {
	return notFound("The function " + n.qualified(orLatest(n.qualifier)) + " doesn't have an EventInvokeConfig")
}

// PutFunctionEventInvokeConfig sets how events are retried and concluded.
func (s *Service) PutFunctionEventInvokeConfig(ctx context.Context, in *sdk.PutFunctionEventInvokeConfigInput) (*sdk.PutFunctionEventInvokeConfigOutput, error) {
	c, err := s.setAsync(ctx, in.FunctionName, in.Qualifier, in.MaximumRetryAttempts, in.MaximumEventAgeInSeconds, in.DestinationConfig, false)
	if err != nil {
		return nil, err
	}
	return as[sdk.PutFunctionEventInvokeConfigOutput](c), nil
}

// UpdateFunctionEventInvokeConfig changes some of it.
func (s *Service) UpdateFunctionEventInvokeConfig(ctx context.Context, in *sdk.UpdateFunctionEventInvokeConfigInput) (*sdk.UpdateFunctionEventInvokeConfigOutput, error) {
	c, err := s.setAsync(ctx, in.FunctionName, in.Qualifier, in.MaximumRetryAttempts, in.MaximumEventAgeInSeconds, in.DestinationConfig, true)
	if err != nil {
		return nil, err
	}
	return as[sdk.UpdateFunctionEventInvokeConfigOutput](c), nil
}

func (s *Service) findAsync(ctx context.Context, function, qualifier *string) (n name, row asyncRow, err error) {
	if n, err = lookup(ctx, function, qualifier); err != nil {
		return n, row, err
	}
	err = s.DB.View(func(tx *store.Tx) (err error) {
		var ok bool
		if row, ok, err = asyncs.Get(tx, asyncKey(n)); err == nil && !ok {
			err = noAsync(n)
		}
		return err
	})
	return n, row, err
}

// GetFunctionEventInvokeConfig tells it.
func (s *Service) GetFunctionEventInvokeConfig(ctx context.Context, in *sdk.GetFunctionEventInvokeConfigInput) (*sdk.GetFunctionEventInvokeConfigOutput, error) {
	n, row, err := s.findAsync(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return as[sdk.GetFunctionEventInvokeConfigOutput](row.describe(n)), nil
}

// DeleteFunctionEventInvokeConfig removes it.
func (s *Service) DeleteFunctionEventInvokeConfig(ctx context.Context, in *sdk.DeleteFunctionEventInvokeConfigInput) (*sdk.DeleteFunctionEventInvokeConfigOutput, error) {
	n, _, err := s.findAsync(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteFunctionEventInvokeConfigOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error { return asyncs.Delete(tx, asyncKey(n)) })
}

// ListFunctionEventInvokeConfigs lists those of a function and its versions and aliases.
func (s *Service) ListFunctionEventInvokeConfigs(ctx context.Context, in *sdk.ListFunctionEventInvokeConfigsInput) (*sdk.ListFunctionEventInvokeConfigsOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	from, err := openMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListFunctionEventInvokeConfigsOutput{FunctionEventInvokeConfigs: []types.FunctionEventInvokeConfig{}}
	p := pager{limit: limitOf(in.MaxItems, 50)}
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, err := mustExist(tx, n); err != nil {
			return err
		}
		for r, err := range asyncs.Range(tx, max(from, n.key()+"/"), store.PrefixEnd(n.key()+"/")) {
			if err != nil {
				return err
			}
			if p.full(r.Key) {
				out.NextMarker = p.next
				return nil
			}
			q := n
			q.qualifier = strings.TrimPrefix(r.Key, n.key()+"/")
			out.FunctionEventInvokeConfigs = append(out.FunctionEventInvokeConfigs, r.Value.describe(q))
		}
		return nil
	})
}
