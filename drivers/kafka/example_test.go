package kafka_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"

	"github.com/waybill-go/waybill/drivers/kafka"
	"github.com/waybill-go/waybill/pubsub"
)

func ExampleNew() {
	driver, err := kafka.New(kafka.Config{
		Brokers:     []string{"kafka-1.example.org:9093", "kafka-2.example.org:9093"},
		TLS:         &tls.Config{MinVersion: tls.VersionTLS12},
		SASL:        &kafka.SASL{Mechanism: "SCRAM-SHA-512", User: "billing", Password: "from a secret store"},
		Compression: "zstd",
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	client, err := pubsub.New(ctx, driver)
	if err != nil {
		log.Fatal(err)
	}
	orders, err := client.Publisher(ctx, "orders", pubsub.Ordered(),
		pubsub.Settings(kafka.TopicSettings{Partitions: 12, Replicas: 3, Config: map[string]string{"min.insync.replicas": "2"}}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(orders.Publish(ctx, &pubsub.Message{Key: "order-7", Body: []byte("placed")}))
	fmt.Println(client.Close(ctx))
}

func ExampleDriver_Open() {
	driver, err := kafka.New(kafka.Config{Brokers: []string{"localhost:9092"}})
	if err != nil {
		log.Fatal(err)
	}
	conn, err := driver.Open(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(conn.Capabilities().Broker)
}
