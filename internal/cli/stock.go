package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/spf13/cobra"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

func (a *app) stockCommand() *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "Show what is available, held and sold of each miniature",
		Args:  args(cobra.NoArgs),
		RunE: a.result(func(ctx context.Context, _ []string) (Result, error) {
			_, s, err := a.stack(ctx, target.StartKnown)
			if err != nil {
				return nil, err
			}
			stock, err := readStock(ctx, s)
			return stockResult{stock}, err
		}),
	}
	set := &cobra.Command{
		Use:   "set SKU AVAILABLE",
		Short: "Put so many on the shelf; what is held or sold stays",
		Args:  args(cobra.ExactArgs(2)),
	}
	set.RunE = a.result(func(ctx context.Context, words []string) (Result, error) {
		n, err := strconv.Atoi(words[1])
		if err != nil || n < 0 || n > maxStock {
			return nil, usageError(set, fmt.Errorf("%q is not a number from 0 to %d", ui.Clean(words[1]), maxStock))
		}
		if !order.ValidSKU(words[0]) {
			return nil, usageError(set, fmt.Errorf("%q is not a SKU", ui.Clean(words[0])))
		}
		return a.setStock(ctx, words[0], n)
	})
	return group(&cobra.Command{Use: "stock", Short: "List and set the inventory"}, list, set)
}

const maxStock = 1_000_000_000

// readStock reads the whole inventory, sorted by SKU.
func readStock(ctx context.Context, s *stack.Stack) ([]order.Stock, error) {
	list := []order.Stock{}
	pages := dynamodb.NewScanPaginator(s.Clients.DynamoDB, &dynamodb.ScanInput{TableName: aws.String(s.Inventory()), ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return list, absent(s, "read stock", err)
		}
		for _, item := range page.Items {
			var one order.Stock
			if err := orderdb.Unmarshal(item, &one); err != nil {
				return list, fmt.Errorf("read stock: %w", err)
			}
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b order.Stock) int { return cmp.Compare(a.SKU, b.SKU) })
	return list, nil
}

// absent says of an error that the stack is not there, if that is what it means.
func absent(s *stack.Stack, doing string, err error) error {
	if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
		return fail(exitFailed, "run: miniforge up", fmt.Errorf("%s: there is no stack %s in account %s, region %s", doing, s.Name, s.Account, s.Region))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// setStock sets what is available and moves what was ever stocked by the same
// amount, in one conditional write: orders may be taking from it.
func (a *app) setStock(ctx context.Context, sku string, available int) (Result, error) {
	_, s, err := a.stack(ctx, target.StartKnown)
	if err != nil {
		return nil, err
	}
	for ctx.Err() == nil {
		got, err := s.Clients.DynamoDB.GetItem(ctx, &dynamodb.GetItemInput{
			TableName: aws.String(s.Inventory()), Key: orderdb.Key(orderdb.StockKey, sku), ConsistentRead: aws.Bool(true),
		})
		if err != nil {
			return nil, absent(s, "read stock of "+sku, err)
		}
		var was order.Stock
		if len(got.Item) == 0 {
			was = order.Stocked(sku, sku, 0)
		} else if err := orderdb.Unmarshal(got.Item, &was); err != nil {
			return nil, fmt.Errorf("read stock of %s: %w", sku, err)
		}
		now := was
		now.Available, now.Stocked = available, was.Stocked+available-was.Available
		err = writeStock(ctx, s, was, now, len(got.Item) == 0)
		if _, moved := errors.AsType[*types.ConditionalCheckFailedException](err); moved {
			continue // an order took some in between
		}
		if err != nil {
			return nil, fmt.Errorf("set stock of %s: %w", sku, err)
		}
		return stockResult{[]order.Stock{now}}, nil
	}
	return nil, context.Cause(ctx)
}

func writeStock(ctx context.Context, s *stack.Stack, was, now order.Stock, fresh bool) error {
	if fresh {
		item, err := orderdb.Marshal(now)
		if err != nil {
			return err
		}
		_, err = s.Clients.DynamoDB.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: aws.String(s.Inventory()), Item: item, ConditionExpression: aws.String("attribute_not_exists(sku)"),
		})
		return err
	}
	_, err := s.Clients.DynamoDB.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(s.Inventory()), Key: orderdb.Key(orderdb.StockKey, now.SKU),
		UpdateExpression:    aws.String("SET available = :now, stocked = stocked + :more"),
		ConditionExpression: aws.String("available = :was"),
		ExpressionAttributeValues: orderdb.Item{
			":now": orderdb.N(now.Available), ":was": orderdb.N(was.Available), ":more": orderdb.N(now.Available - was.Available),
		},
	})
	return err
}

type stockResult struct {
	Stock []order.Stock `json:"stock"`
}

// Text implements Result.
func (r stockResult) Text(p *ui.Page) { printStock(p, r.Stock) }

func printStock(p *ui.Page, stock []order.Stock) {
	rows := make([][]string, len(stock))
	for i, s := range stock {
		rows[i] = []string{s.SKU, strconv.Itoa(s.Available), strconv.Itoa(s.Held()), strconv.Itoa(s.Sold), strconv.Itoa(s.Stocked), ui.Clean(s.Name)}
	}
	p.Table([]string{"SKU", "AVAILABLE", "HELD", "SOLD", "STOCKED", "NAME"}, rows)
}

func printQueues(p *ui.Page, queues map[string]queueDepth) {
	names := make([]string, 0, len(queues))
	for name := range queues {
		names = append(names, name)
	}
	slices.Sort(names)
	rows := make([][]string, len(names))
	for i, name := range names {
		rows[i] = []string{name, strconv.Itoa(queues[name].Visible), strconv.Itoa(queues[name].InFlight)}
	}
	p.Table([]string{"QUEUE", "MESSAGES", "IN FLIGHT"}, rows)
}
