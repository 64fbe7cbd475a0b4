package orderdb_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

func TestOrdersSurviveTheTable(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)
	at := order.At(now)
	o := order.New("ord_1", "key", order.Request{
		Customer: order.Customer{Name: "Ada", Email: "ada@example.com"},
		Items:    []order.Item{{SKU: "MF-DRAGON-01", Quantity: 1000}},
		Payment:  order.Payment{Token: "tok_visa"},
	}, now)
	o.Charge = &order.Charge{ID: "ch_1", At: at, Attempts: 2, RefundedAt: &at}
	o.Failure = &order.Failure{Code: order.Internal, Reason: "why"}
	o.NotifiedAt = &at
	item, err := orderdb.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var back order.Order
	if err := orderdb.Unmarshal(item, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(o, back); diff != "" {
		t.Errorf("order (-stored +read):\n%s", diff)
	}
	if _, there := item["execution_arn"]; there {
		t.Error("an unclaimed order has an execution_arn: attribute_not_exists would fail")
	}
	if got, ok := item["created_at"].(*types.AttributeValueMemberS); !ok || got.Value != "2026-01-02T03:04:05.678Z" {
		t.Errorf("created_at = %#v", item["created_at"])
	}
}

func TestFreshStockHasAMapOfHolds(t *testing.T) {
	item, err := orderdb.Marshal(order.Stocked("MF-RELIC-04", "The Last Relic", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := item["holds"].(*types.AttributeValueMemberM); !ok {
		t.Errorf("holds = %#v, want a map: the workflow sets a member of it", item["holds"])
	}
}

func TestUnmarshalRefusesWhatIsNoOrder(t *testing.T) {
	cases := map[string]types.AttributeValue{
		"set":             &types.AttributeValueMemberSS{Value: []string{"a"}},
		"binary in list":  &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberB{}}},
		"number for text": &types.AttributeValueMemberN{Value: "1"},
	}
	for name, value := range cases {
		var o order.Order
		if err := orderdb.Unmarshal(orderdb.Item{"status": value}, &o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMarshalRefusesWhatIsNoObject(t *testing.T) {
	for _, v := range []any{1, "text", []int{1}, nil, make(chan int)} {
		if _, err := orderdb.Marshal(v); err == nil {
			t.Errorf("%v: no error", v)
		}
	}
}
