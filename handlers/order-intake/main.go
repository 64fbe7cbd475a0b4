// Command order-intake is the function behind the HTTP API: it takes orders
// and tells how they stand.
//
// It needs dynamodb:PutItem and dynamodb:GetItem on the orders table.
package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"miniforge/internal/handler"
)

func main() {
	p, err := handler.Start(context.Background(), "ORDERS_TABLE")
	if err != nil {
		handler.Fail(err)
	}
	h := &intake{db: dynamodb.NewFromConfig(p.Config), table: p.Env["ORDERS_TABLE"], log: p.Log, now: time.Now}
	handler.Serve(p, h.handle)
}
