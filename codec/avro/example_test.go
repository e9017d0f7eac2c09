package avro_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/codec/avro"
	"github.com/waybill-go/waybill/codec/compress"
	"github.com/waybill-go/waybill/codec/encrypt"
	_ "github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
)

func ExampleNew() {
	type Order struct {
		Item  string `avro:"item"`
		Count int    `avro:"count"`
	}
	fake := srfake.New() // for the example; yours has an address
	defer fake.Close()
	registry, _ := sr.NewClient(sr.URLs(fake.URL()))
	orders, err := avro.New[Order](avro.Options{Registry: registry, Subject: "orders-value", Register: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, _ := orders.Encode(Order{"apple", 3})
	fmt.Printf("%s: %q\n", p.ContentType, p.Body)
	v, err := orders.Decode(p)
	fmt.Println(v, err)
	// Output:
	// application/vnd.confluent.avro: "\x00\x00\x00\x00\x01\napple\x06"
	// {apple 3} <nil>
}

// Codecs compose: this one writes Avro, compresses it, and encrypts that.
func Example_composed() {
	type Order struct {
		Note string `avro:"note"`
	}
	fake := srfake.New()
	defer fake.Close()
	registry, _ := sr.NewClient(sr.URLs(fake.URL()))
	plain, _ := avro.New[Order](avro.Options{Registry: registry, Subject: "orders-value", Register: true})
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	keys, _ := encrypt.New(encrypt.Keyring{Current: "2026-11", Keys: map[string][]byte{"2026-11": key}, Context: "orders"})
	orders := codec.Encoded(plain, compress.Zstd(compress.Options{}), keys)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, _ := pubsub.Open(ctx, "memory://avro-composed")
	topic, _ := client.Publisher(ctx, "orders")
	billing, _ := client.Subscriber(ctx, "orders", pubsub.Group("billing"), pubsub.DropPermanent())
	publisher := pubsub.TypedPublisher[Order]{Publisher: topic, Codec: orders}
	_ = publisher.Publish(ctx, Order{strings.Repeat("a gift, please wrap it; ", 100)})
	_ = client.Serve(ctx, pubsub.Handle(billing, pubsub.Typed(orders, func(_ context.Context, o Order, d *pubsub.Delivery) error {
		defer stop()
		fmt.Println(d.Headers[codec.HeaderContentEncoding])
		fmt.Println(len(o.Note), "bytes in less than 200:", len(d.Body) < 200)
		return nil
	})))
	// Output:
	// zstd, waybill-aes-gcm
	// 2400 bytes in less than 200: true
}
