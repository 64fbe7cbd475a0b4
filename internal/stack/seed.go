package stack

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"miniforge/internal/order"
)

// Seed puts the catalogue's stock on the shelf and returns how many SKUs were
// missing. What is there already is left as it is, whatever was sold of it: it
// may be repeated at any time.
func (s *Stack) Seed(ctx context.Context) (added int, err error) {
	var eg errgroup.Group
	catalogue := order.Catalogue()
	put := make([]bool, len(catalogue))
	for i, stock := range catalogue {
		eg.Go(func() (err error) {
			put[i], err = s.seed(ctx, stock)
			return err
		})
	}
	err = eg.Wait()
	for _, new := range put {
		if new {
			added++
		}
	}
	return added, err
}

func (s *Stack) seed(ctx context.Context, stock order.Stock) (bool, error) {
	number := func(n int) types.AttributeValue {
		return &types.AttributeValueMemberN{Value: strconv.Itoa(n)}
	}
	// The key alone is read first: a second run must write nothing, and a put
	// that fails its condition is a write that AWS charges for.
	key := map[string]types.AttributeValue{"sku": &types.AttributeValueMemberS{Value: stock.SKU}}
	got, err := s.Clients.DynamoDB.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String(s.Inventory()), Key: key, ProjectionExpression: aws.String("sku"), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return false, fmt.Errorf("read stock of %s: %w", stock.SKU, err)
	}
	if len(got.Item) > 0 {
		return false, nil
	}
	_, err = s.Clients.DynamoDB.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(s.Inventory()),
		Item: map[string]types.AttributeValue{
			"sku":       key["sku"],
			"name":      &types.AttributeValueMemberS{Value: stock.Name},
			"stocked":   number(stock.Stocked),
			"available": number(stock.Available),
			"sold":      number(stock.Sold),
			"holds":     &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{}},
		},
		ConditionExpression: aws.String("attribute_not_exists(sku)"), // another run may be seeding too
	})
	if _, exists := errors.AsType[*types.ConditionalCheckFailedException](err); exists {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("seed stock of %s: %w", stock.SKU, err)
	}
	return true, nil
}
