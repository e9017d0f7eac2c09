package cloudevents_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/codec/cloudevents"
	_ "github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
)

type order struct {
	Item string `json:"item"`
}

// placed is an event with all that one can have.
func placed(t testing.TB) event.Event {
	t.Helper()
	e := event.New()
	e.SetID("7")
	e.SetSource("/shop")
	e.SetType("order.placed")
	e.SetSubject("Größe 7, 50 %")
	e.SetTime(time.Date(2026, 11, 25, 9, 0, 0, 5e6, time.UTC))
	e.SetDataSchema("https://example.com/order.json")
	e.SetExtension("tenant", "a")
	e.SetExtension("count", 3)
	e.SetExtension("paid", true)
	if err := e.SetData("application/json", order{"apple"}); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestModesAndBindings(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]cloudevents.Options{
		"default": {}, "Kafka": {Binding: cloudevents.Kafka}, "Pub/Sub": {Binding: cloudevents.PubSub},
		"AMQP": {Binding: cloudevents.AMQP}, "AMQP _": {Binding: cloudevents.AMQPUnderscore}, "structured": {Structured: true},
	} {
		p, err := cloudevents.Events(o).Encode(placed(t))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := cloudevents.Events(cloudevents.Options{Structured: true}).Decode(p) // reads any
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := placed(t)
		tenant, count, paid := got.Extensions()["tenant"], fmt.Sprint(got.Extensions()["count"]), fmt.Sprint(got.Extensions()["paid"])
		var data order
		if got.ID() != want.ID() || got.Source() != want.Source() || got.Type() != want.Type() || got.Subject() != want.Subject() ||
			!got.Time().Equal(want.Time()) || got.DataSchema() != want.DataSchema() || tenant != "a" || count != "3" || paid != "true" ||
			got.DataContentType() != "application/json" || got.DataAs(&data) != nil || data != (order{"apple"}) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What the bindings' specifications show.
func TestBinaryMode(t *testing.T) {
	t.Parallel()
	p, err := cloudevents.Events(cloudevents.Options{Binding: cloudevents.AMQP}).Encode(placed(t))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"cloudEvents:specversion": "1.0", "cloudEvents:id": "7", "cloudEvents:source": "/shop", "cloudEvents:type": "order.placed",
		"cloudEvents:subject": "Größe 7, 50 %", "cloudEvents:time": "2026-11-25T09:00:00.005Z", "cloudEvents:dataschema": "https://example.com/order.json",
		"cloudEvents:tenant": "a", "cloudEvents:count": "3", "cloudEvents:paid": "true",
	}
	if fmt.Sprint(p.Headers) != fmt.Sprint(want) || p.ContentType != "application/json" || string(p.Body) != `{"item":"apple"}` {
		t.Errorf("%s, %s, %v", p.ContentType, p.Body, p.Headers)
	}
}

func TestStructuredMode(t *testing.T) {
	t.Parallel()
	c := cloudevents.Of(codec.Bytes(), func([]byte) event.Event {
		e := event.New()
		e.SetID("7")
		e.SetSource("/shop")
		e.SetType("image")
		return e
	}, cloudevents.Options{Structured: true})
	p, err := c.Encode([]byte{0xca, 0xfe})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(p.Body, &got); err != nil || got["data_base64"] != "yv4=" || got["specversion"] != "1.0" || len(p.Headers) != 0 {
		t.Errorf("%s, %v, %v", p.Body, p.Headers, err)
	}
	if p.ContentType != "application/cloudevents+json; charset=UTF-8" {
		t.Error(p.ContentType)
	}
	if back, err := c.Decode(p); err != nil || string(back) != "\xca\xfe" {
		t.Errorf("%x, %v", back, err)
	}
}

func TestBindingOf(t *testing.T) {
	t.Parallel()
	for broker, want := range map[string]cloudevents.Binding{
		"Apache Kafka 4.3": cloudevents.Kafka, "RabbitMQ 4.3.6": cloudevents.AMQP, "Google Cloud Pub/Sub": cloudevents.PubSub,
		"Amazon SNS and SQS": cloudevents.Kafka, "memory": cloudevents.Kafka,
	} {
		if got := cloudevents.BindingOf(broker); got != want {
			t.Errorf("%s: %q", broker, got)
		}
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	events := cloudevents.Events(cloudevents.Options{})
	if _, err := events.Encode(event.Event{}); err == nil {
		t.Error("encoded an event without a context")
	}
	if _, err := events.Encode(event.New()); err == nil {
		t.Error("encoded an event that lacks its attributes")
	}
	for name, p := range map[string]codec.Payload{
		"nothing":         {},
		"no version":      {Headers: map[string]string{"ce_id": "7"}},
		"another version": {Headers: map[string]string{"ce_specversion": "9.0"}},
		"no ID":           {Headers: map[string]string{"ce_specversion": "1.0", "ce_source": "/", "ce_type": "t"}},
		"no time":         {Headers: map[string]string{"ce_specversion": "1.0", "ce_source": "/", "ce_type": "t", "ce_id": "7", "ce_time": "noon"}},
		"a bad extension": {Headers: map[string]string{"ce_specversion": "1.0", "ce_source": "/", "ce_type": "t", "ce_id": "7", "ce_a b": "c"}},
		"damaged":         {ContentType: "application/cloudevents+json", Body: []byte("{")},
		"null":            {ContentType: "application/cloudevents+json", Body: []byte("null")},
		"batch":           {ContentType: "application/cloudevents-batch+json", Body: []byte("[]")},
		"protobuf":        {ContentType: "application/cloudevents+protobuf"},
	} {
		if got, err := events.Decode(p); err == nil || got.Context != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := events.Decode(codec.Payload{}); !errors.Is(err, cloudevents.ErrNoEvent) {
		t.Error(err)
	}
	reader := cloudevents.Of(codec.JSON[order](), nil, cloudevents.Options{})
	if _, err := reader.Encode(order{}); err == nil {
		t.Error("encoded without a description")
	}
	if _, err := reader.Decode(codec.Payload{Body: []byte("{}")}); !errors.Is(err, cloudevents.ErrNoEvent) {
		t.Errorf("no event: %v", err)
	}
	bare := func(order) event.Event { return event.Event{} }
	if _, err := cloudevents.Of(codec.JSON[order](), bare, cloudevents.Options{}).Encode(order{}); err == nil {
		t.Error("encoded an event without a context")
	}
}

// An encoding goes around the event, or in binary mode into it.
func TestComposes(t *testing.T) {
	t.Parallel()
	describe := func(order) event.Event { return placed(t) }
	for name, c := range map[string]codec.Codec[order]{
		"around":             codec.Encoded(cloudevents.Of(codec.JSON[order](), describe, cloudevents.Options{}), flip{}),
		"around, structured": codec.Encoded(cloudevents.Of(codec.JSON[order](), describe, cloudevents.Options{Structured: true}), flip{}),
		"inside":             cloudevents.Of(codec.Encoded(codec.JSON[order](), flip{}), describe, cloudevents.Options{}),
	} {
		p, err := c.Encode(order{"pear"})
		if err != nil || p.Headers[codec.HeaderContentEncoding] != "flip" {
			t.Errorf("%s: %v, %v", name, p.Headers, err)
			continue
		}
		if got, err := c.Decode(p); got != (order{"pear"}) || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	inside := cloudevents.Of(codec.Encoded(codec.JSON[order](), flip{}), describe, cloudevents.Options{Structured: true})
	if _, err := inside.Encode(order{"pear"}); err == nil {
		t.Error("lost the encoding of the data")
	}
}

// flip is an encoding that flips all bits.
type flip struct{}

func (flip) Encode(p codec.Payload) ([]byte, string, error) { return flipped(p.Body), "flip", nil }

func (flip) Accepts(token string) bool { return token == "flip" }

func (flip) Decode(p codec.Payload, _ string) ([]byte, error) { return flipped(p.Body), nil }

func (flip) Optional() bool { return false }

func flipped(body []byte) []byte {
	out := make([]byte, len(body))
	for i, b := range body {
		out[i] = ^b
	}
	return out
}

func FuzzDecode(f *testing.F) {
	f.Add("application/cloudevents+json", []byte(`{"specversion":"1.0","id":"7","source":"/","type":"t","data":{"a":1},"x":true}`), "", "")
	f.Add("application/json", []byte("{}"), "time", "2026-11-25T09:00:00Z")
	f.Fuzz(func(t *testing.T, media string, body []byte, name, value string) {
		c := cloudevents.Events(cloudevents.Options{})
		e, err := c.Decode(codec.Payload{Body: body, ContentType: media, Headers: map[string]string{
			"ce_specversion": "1.0", "ce_id": "7", "ce_source": "/", "ce_type": "t", "ce_" + name: value,
		}})
		if err != nil {
			return
		}
		p, err := c.Encode(e)
		if err != nil {
			t.Fatalf("decoded and cannot be encoded: %v", err)
		}
		if again, err := c.Decode(p); err != nil || again.ID() != e.ID() || string(again.Data()) != string(e.Data()) {
			t.Errorf("%v became %v, %v", e, again, err)
		}
	})
}

func ExampleEvents() {
	e := event.New()
	e.SetID("7")
	e.SetSource("/shop")
	e.SetType("order.placed")
	_ = e.SetData("application/json", order{"apple"})

	p, _ := cloudevents.Events(cloudevents.Options{Binding: cloudevents.BindingOf("RabbitMQ 4.3")}).Encode(e)
	fmt.Println(p.ContentType, string(p.Body), p.Headers["cloudEvents:type"])
	p, _ = cloudevents.Events(cloudevents.Options{Structured: true}).Encode(e)
	fmt.Println(p.ContentType)
	fmt.Println(string(p.Body))
	// Output:
	// application/json {"item":"apple"} order.placed
	// application/cloudevents+json; charset=UTF-8
	// {"specversion":"1.0","id":"7","source":"/shop","type":"order.placed","datacontenttype":"application/json","data":{"item":"apple"}}
}

func ExampleOf() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, _ := pubsub.Open(ctx, "memory://cloudevents")
	orders := cloudevents.Of(codec.JSON[order](), func(o order) event.Event {
		e := event.New()
		e.SetID("7")
		e.SetSource("/shop")
		e.SetType("order.placed")
		e.SetSubject(o.Item)
		return e
	}, cloudevents.Options{Binding: cloudevents.BindingOf(client.Capabilities().Broker)})
	topic, _ := client.Publisher(ctx, "orders")
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent())
	publisher := pubsub.TypedPublisher[order]{Publisher: topic, Codec: orders}
	_ = publisher.Publish(ctx, order{"apple"})
	_ = client.Serve(ctx, pubsub.Handle(billing, pubsub.Typed(orders, func(_ context.Context, o order, d *pubsub.Delivery) error {
		defer stop()
		fmt.Println(o.Item, d.Headers["ce_type"])
		return nil
	})))
	// Output: apple order.placed
}
