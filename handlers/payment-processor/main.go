// Command payment-processor is the function that charges and refunds orders
// for the workflow. The payment gateway is simulated, see gateway.go.
//
// It needs dynamodb:UpdateItem on the orders table.
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
	h := &payments{
		db: dynamodb.NewFromConfig(p.Config), table: p.Env["ORDERS_TABLE"],
		log: p.Log, now: time.Now, hang: maxTimeout,
	}
	handler.Serve(p, h.handle)
}
