package rabbitmq_test

import (
	"context"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/brokers"
)

// These are for a quick look and profiles; bench/rabbitmq measures.

func body() []byte { return make([]byte, 256) }

func BenchmarkPublish(b *testing.B) {
	broker := brokers.RabbitMQ(b, brokers.Version("4.3"))
	for _, queues := range []string{"classic", "quorum"} {
		b.Run(queues+"/raw", func(b *testing.B) {
			ch := dial(b, broker)
			name := fresh("raw")
			_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": queues})
			must(b, err)
			defer ch.QueueDelete(name, false, false, false)
			must(b, ch.Confirm(false))
			rawPublish(b, ch, name, b.N)
		})
		b.Run(queues+"/waybill", func(b *testing.B) {
			c, name := client(b, broker, "queues="+queues), fresh("ours")
			p, err := c.Publisher(b.Context(), name, pubsub.Queue())
			must(b, err)
			defer dial(b, broker).QueueDelete(name, false, false, false)
			oursPublish(b, p, b.N)
		})
	}
}

func rawPublish(b *testing.B, ch *amqp.Channel, name string, n int) {
	window := make(chan *amqp.DeferredConfirmation, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for dc := range window {
			if !dc.Wait() {
				b.Error("nack")
			}
		}
	}()
	payload := body()
	b.ResetTimer()
	for range n {
		dc, err := ch.PublishWithDeferredConfirm("", name, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: payload})
		must(b, err)
		window <- dc
	}
	close(window)
	<-done
	b.StopTimer()
}

func oursPublish(b *testing.B, p *pubsub.Topic, n int) {
	var left atomic.Int64
	left.Store(int64(n))
	done := make(chan struct{})
	payload := body()
	b.ResetTimer()
	for range n {
		p.PublishAsync(b.Context(), &pubsub.Message{Body: payload}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			if left.Add(-1) == 0 {
				close(done)
			}
		})
	}
	<-done
	b.StopTimer()
}

func BenchmarkConsume(b *testing.B) {
	broker := brokers.RabbitMQ(b, brokers.Version("4.3"))
	for _, queues := range []string{"classic", "quorum"} {
		for _, who := range []string{"raw", "waybill"} {
			b.Run(queues+"/"+who, func(b *testing.B) {
				c, name := client(b, broker, "queues="+queues), fresh("consume")
				p, err := c.Publisher(b.Context(), name, pubsub.Queue())
				must(b, err)
				defer dial(b, broker).QueueDelete(name, false, false, false)
				oursPublish(b, p, b.N)
				b.ResetTimer()
				b.StartTimer()
				if who == "raw" {
					ch := dial(b, broker)
					must(b, ch.Qos(1000, 0, false))
					deliveries, err := ch.Consume(name, "", false, false, false, false, nil)
					must(b, err)
					for range b.N {
						d := <-deliveries
						must(b, d.Ack(false))
					}
					b.StopTimer()
					return
				}
				s, err := c.Subscriber(b.Context(), name, pubsub.Queue(), pubsub.DropPermanent())
				must(b, err)
				ctx, cancel := context.WithCancel(b.Context())
				var n atomic.Int64
				must(b, s.Receive(ctx, func(context.Context, *pubsub.Delivery) error {
					if n.Add(1) == int64(b.N) {
						b.StopTimer()
						cancel()
					}
					return nil
				}))
			})
		}
	}
}

func BenchmarkEndToEnd(b *testing.B) {
	broker := brokers.RabbitMQ(b, brokers.Version("4.3"))
	for _, queues := range []string{"classic", "quorum"} {
		b.Run(queues+"/raw", func(b *testing.B) {
			out, in, name := dial(b, broker), dial(b, broker), fresh("raw")
			_, err := in.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": queues})
			must(b, err)
			defer in.QueueDelete(name, false, false, false)
			must(b, out.Confirm(false))
			must(b, in.Qos(1000, 0, false))
			deliveries, err := in.Consume(name, "", false, false, false, false, nil)
			must(b, err)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range b.N {
					d := <-deliveries
					_ = d.Ack(false)
				}
			}()
			rawPublish(b, out, name, b.N)
			b.StartTimer()
			<-done
			b.StopTimer()
		})
		b.Run(queues+"/waybill", func(b *testing.B) {
			c, name := client(b, broker, "queues="+queues), fresh("ours")
			p, err := c.Publisher(b.Context(), name, pubsub.Queue())
			must(b, err)
			defer dial(b, broker).QueueDelete(name, false, false, false)
			s, err := c.Subscriber(b.Context(), name, pubsub.Queue(), pubsub.DropPermanent())
			must(b, err)
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			var n atomic.Int64
			go func() {
				defer close(done)
				_ = s.Receive(ctx, func(context.Context, *pubsub.Delivery) error {
					if n.Add(1) == int64(b.N) {
						cancel()
					}
					return nil
				})
			}()
			oursPublish(b, p, b.N)
			b.StartTimer()
			<-done
			b.StopTimer()
		})
	}
}
