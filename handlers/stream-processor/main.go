// Command stream-processor is the function behind the stream of the orders
// table: it announces every new order on the event bus.
//
// It needs events:PutEvents on the bus, besides what its event source mapping
// needs to read the stream.
package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"miniforge/internal/handler"
)

func main() {
	p, err := handler.Start(context.Background(), "EVENT_BUS_NAME")
	if err != nil {
		handler.Fail(err)
	}
	h := &processor{bus: eventbridge.NewFromConfig(p.Config), busName: p.Env["EVENT_BUS_NAME"], log: p.Log}
	handler.Serve(p, h.handle)
}
