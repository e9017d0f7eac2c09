package brokers_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/testing/brokers"
)

func TestOthersStart(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]func(testing.TB, ...brokers.Option) *brokers.Broker{
		"kafka": brokers.Kafka, "gcppubsub": brokers.GCPPubSub, "snssqs": brokers.SNSSQS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := give(t, brokers.Private())
			if !strings.HasPrefix(b.URL, name+"://") || b.Version == "" || len(b.Addresses) != 1 {
				t.Fatalf("%+v", b)
			}
			for _, do := range []func() error{
				func() error { return b.Stop(t.Context()) }, func() error { return b.Start(t.Context()) },
				func() error { return b.Kill(t.Context()) }, func() error { return b.Start(t.Context()) },
			} {
				if err := do(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestKafkaCluster(t *testing.T) {
	t.Parallel()
	b := brokers.Kafka(t, brokers.Private(), brokers.Nodes(3))
	do := func(args ...string) string {
		t.Helper()
		out, err := b.Admin(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	do("kafka-topics", "--create", "--topic", "orders", "--partitions", "3", "--replication-factor", "3")
	if _, err := b.AdminInput(t.Context(), "one\n", "kafka-console-producer", "--topic", "orders", "--sync"); err != nil {
		t.Fatal(err)
	}
	if err := b.Kill(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := b.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := do("kafka-console-consumer", "--topic", "orders", "--from-beginning", "--max-messages", "1", "--timeout-ms", "20000")
	if !strings.Contains(out, "one\n") {
		t.Errorf("after a restart of all nodes the topic has %q", out)
	}
}

// TestMinistackKeepsWhatItStopsWith proves the limit that the documentation states.
func TestMinistackKeepsWhatItStopsWith(t *testing.T) {
	t.Parallel()
	b := brokers.SNSSQS(t, brokers.Private())
	ask := func(query string) string {
		t.Helper()
		r, err := http.Get("http://" + b.Addresses[0] + "/?Version=2012-11-05&Action=" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	ask("CreateQueue&QueueName=orders")
	for _, again := range []func(context.Context, ...int) error{b.Stop, b.Start} {
		if err := again(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if list := ask("ListQueues"); !strings.Contains(list, "orders") {
		t.Errorf("after a stop in good order: %s", list)
	}
}
