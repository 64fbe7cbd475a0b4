package lambda

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Limits of an account in a region.
const (
	accountConcurrency = 1000
	minUnreserved      = 100
	maxCodeStorage     = 80_530_636_800
)

func (s *Service) registerConcurrency(api *wire.API) {
	wire.Bind(api, "PUT /2017-10-31/functions/{FunctionName}/concurrency", s.PutFunctionConcurrency, wire.Members(nameRule, "ReservedConcurrentExecutions! 0.."),
		on(func(in *sdk.PutFunctionConcurrencyInput) (f, q *string) { return in.FunctionName, nil }))
	wire.Bind(api, "GET /2019-09-30/functions/{FunctionName}/concurrency", s.GetFunctionConcurrency, wire.Members(nameRule),
		on(func(in *sdk.GetFunctionConcurrencyInput) (f, q *string) { return in.FunctionName, nil }))
	wire.Bind(api, "DELETE /2017-10-31/functions/{FunctionName}/concurrency", s.DeleteFunctionConcurrency, wire.Status(204), wire.Members(nameRule),
		on(func(in *sdk.DeleteFunctionConcurrencyInput) (f, q *string) { return in.FunctionName, nil }))
	wire.Bind(api, "GET /2016-08-19/account-settings", s.GetAccountSettings)
}

// reservedOthers sums what all functions of a region but one have reserved.
func reservedOthers(tx *store.Tx, n name) (sum int32, err error) {
	for r, err := range functions.Prefix(tx, n.region+"/") {
		if err != nil {
			return 0, err
		}
		if r.Value.Reserved != nil && r.Value.Name != n.function {
			sum += *r.Value.Reserved
		}
	}
	return sum, nil
}

// PutFunctionConcurrency reserves a part of the account's concurrency.
func (s *Service) PutFunctionConcurrency(ctx context.Context, in *sdk.PutFunctionConcurrencyInput) (*sdk.PutFunctionConcurrencyOutput, error) {
	return &sdk.PutFunctionConcurrencyOutput{ReservedConcurrentExecutions: in.ReservedConcurrentExecutions}, s.reserve(ctx, in.FunctionName, in.ReservedConcurrentExecutions)
}

// DeleteFunctionConcurrency gives the reserved concurrency back.
func (s *Service) DeleteFunctionConcurrency(ctx context.Context, in *sdk.DeleteFunctionConcurrencyInput) (*sdk.DeleteFunctionConcurrencyOutput, error) {
	return &sdk.DeleteFunctionConcurrencyOutput{}, s.reserve(ctx, in.FunctionName, nil)
}

func (s *Service) reserve(ctx context.Context, function *string, n32 *int32) error {
	n, err := lookup(ctx, function, nil)
	if err != nil {
		return err
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		f, err := mustExist(tx, n)
		if err != nil {
			return err
		}
		others, err := reservedOthers(tx, n)
		if err != nil {
			return err
		}
		if n32 != nil && accountConcurrency-others-*n32 < minUnreserved {
			return badValue(fmt.Sprintf("Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [%d].", minUnreserved))
		}
		f.Reserved = n32
		s.changed(tx)
		return functions.Put(tx, n.key(), f)
	})
}

// GetFunctionConcurrency tells the reserved concurrency, if there is one.
func (s *Service) GetFunctionConcurrency(ctx context.Context, in *sdk.GetFunctionConcurrencyInput) (*sdk.GetFunctionConcurrencyOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetFunctionConcurrencyOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		f, err := mustExist(tx, n)
		out.ReservedConcurrentExecutions = f.Reserved
		return err
	})
}

// GetAccountSettings tells the limits of the account and what is used.
func (s *Service) GetAccountSettings(ctx context.Context, _ *sdk.GetAccountSettingsInput) (*sdk.GetAccountSettingsOutput, error) {
	out := &sdk.GetAccountSettingsOutput{
		AccountLimit: &types.AccountLimit{CodeSizeUnzipped: maxUnzipped, CodeSizeZipped: maxZipped, ConcurrentExecutions: accountConcurrency, TotalCodeSize: maxCodeStorage},
		AccountUsage: &types.AccountUsage{},
	}
	region := wire.CallOf(ctx).Region
	return out, s.DB.View(func(tx *store.Tx) error {
		reserved, err := reservedOthers(tx, name{region: region})
		if err != nil {
			return err
		}
		out.AccountLimit.UnreservedConcurrentExecutions = new(accountConcurrency - reserved)
		for r, err := range versions.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out.AccountUsage.TotalCodeSize += r.Value.Config.CodeSize
			if *r.Value.Config.Version == latest {
				out.AccountUsage.FunctionCount++
			}
		}
		return nil
	})
}
