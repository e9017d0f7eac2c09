package kafka

import (
	"strings"
	"testing"

	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
)

// TestConsole exchanges messages and offsets with Kafka's own tools.
func TestConsole(t *testing.T) {
	t.Parallel()
	broker := brokers.Kafka(t)
	if !broker.Mine() {
		t.Skip("the address came from the environment, so Kafka's tools are not known")
	}
	tool := func(input string, args ...string) string {
		t.Helper()
		out, err := broker.AdminInput(t.Context(), input, args...)
		must(t, err)
		return out
	}
	b := set(t, quick(t))
	topic := b.request.Topic

	tool("h1:v1,h2:v2\tk1\tfirst\nNULL\tNULL\tbare\nNULL\tk1\tNULL\n", "kafka-console-producer", "--topic", topic,
		"--reader-property", "parse.headers=true", "--reader-property", "parse.key=true", "--reader-property", "null.marker=NULL")
	s := b.join()
	got := b.take(s, 3)
	for i, want := range []struct{ key, body, h1 string }{{"k1", "first", "v1"}, {"", "bare", ""}, {"k1", "", ""}} {
		if d := &got[i]; d.Key != want.key || string(d.Body) != want.body || d.Headers["h1"] != want.h1 {
			t.Errorf("%d: key %q, body %q, headers %q; want %+v", i, d.Key, d.Body, d.Headers, want)
		}
	}
	b.settle(s, driver.Ack, got[0], got[2])
	must(t, s.Close(t.Context()))

	// The tools see the lowest undone offset, and the note beside it is no hindrance.
	group := b.conn.groupOf(&b.request)
	described := tool("", "kafka-consumer-groups", "--describe", "--group", group)
	line := strings.Fields(described[strings.LastIndex(described, group):])
	if len(line) < 6 || line[3] != "1" || line[4] != "3" || line[5] != "2" {
		t.Errorf("kafka-consumer-groups says:\n%s", described)
	}
	tool("", "kafka-consumer-groups", "--reset-offsets", "--to-earliest", "--execute", "--group", group, "--topic", topic)
	s = b.join()
	b.settle(s, driver.Ack, b.take(s, 3)...)
	must(t, s.Close(t.Context()))

	out, err := b.conn.Topic(t.Context(), b.request.TopicRequest)
	must(t, err)
	out.Send(t.Context(), []driver.Message{
		{ID: "7", Key: "k2", Headers: map[string]string{"h": "v"}, Body: []byte("ours")}, {Body: []byte("plain")}, {},
	}, func(_ int, f driver.Fate, err error) {
		if f != driver.Stored {
			t.Errorf("%s: %v", f, err)
		}
	})
	must(t, out.Close(t.Context()))
	read := tool("", "kafka-console-consumer", "--topic", topic, "--partition", "0", "--offset", "3", "--max-messages", "3", "--timeout-ms", "20000",
		"--formatter-property", "print.key=true", "--formatter-property", "print.headers=true")
	if want := "h:v,waybill-id:7\tk2\tours\nNO_HEADERS\tnull\tplain\nNO_HEADERS\tnull\t\n"; !strings.Contains(read, want) {
		t.Errorf("kafka-console-consumer reads %q, want %q", read, want)
	}
}
