// Command inventory-checker is the function that the workflow asks whether an
// order can be served at all, before it reserves anything.
//
// It needs dynamodb:BatchGetItem on the inventory table.
package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"miniforge/internal/handler"
)

func main() {
	p, err := handler.Start(context.Background(), "INVENTORY_TABLE")
	if err != nil {
		handler.Fail(err)
	}
	h := &checker{db: dynamodb.NewFromConfig(p.Config), table: p.Env["INVENTORY_TABLE"], log: p.Log}
	handler.Serve(p, h.handle)
}
