package kafka

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// stranger is another program at a table's topic.
func stranger(b *table, options ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.conn.config.Brokers...), kgo.DefaultProduceTopic(b.request.Topic), kgo.ConsumeTopics(b.request.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(100 * time.Millisecond),
	}, options...)...)
	must(b, err)
	b.Cleanup(c.Close)
	return c
}

// read has a stranger read n records.
func (b *table) read(c *kgo.Client, n int) (all []*kgo.Record) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	for len(all) < n {
		got := c.PollFetches(ctx)
		must(b, got.Err0())
		all = append(all, got.Records()...)
	}
	return all
}

// Each compression is what arrives at the broker, and is read again, by us and others.
func TestCompressions(t *testing.T) {
	t.Parallel()
	for name, number := range map[string]uint8{"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := quick(t)
			c.Compression = name
			b := set(t, c)
			b.send(0, 500)
			for i, r := range b.read(stranger(b), 500) {
				if r.Attrs.CompressionType() != number || string(r.Value) != strconv.Itoa(i) {
					t.Fatalf("record %d has compression %d, value %s", i, r.Attrs.CompressionType(), r.Value)
				}
			}
			s := b.join()
			for i, d := range b.take(s, 500) {
				if string(d.Body) != strconv.Itoa(i) {
					t.Fatalf("delivery %d is %s", i, d.Body)
				}
			}
			must(t, s.Close(t.Context()))
		})
	}
}

// With read-committed, messages of transactions come when these are committed, and never
// if they are aborted.
func TestReadCommitted(t *testing.T) {
	t.Parallel()
	c := quick(t)
	lax := set(t, c)
	c.ReadCommitted = true
	d, err := New(c)
	must(t, err)
	strict := lay(t, d)
	strict.request.Topic, strict.request.Group = lax.request.Topic, "strict"
	must(t, strict.conn.Declare(t.Context(), strict.request))
	writer := stranger(lax, kgo.TransactionalID(lax.request.Topic), kgo.ConsumeTopics())
	begin := func(value string) {
		t.Helper()
		must(t, writer.BeginTransaction())
		must(t, writer.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr())
	}
	begin("aborted")
	must(t, writer.EndTransaction(t.Context(), kgo.TryAbort))
	begin("kept")
	must(t, writer.EndTransaction(t.Context(), kgo.TryCommit))
	begin("open")
	everything, committed := lax.join(), strict.join()
	if got := bodies(lax.take(everything, 3)); !slices.Equal(got, []string{"aborted", "kept", "open"}) {
		t.Errorf("without read-committed there is %q", got)
	}
	first := strict.take(committed, 1)
	strict.none(committed)
	must(t, writer.EndTransaction(t.Context(), kgo.TryCommit))
	both := slices.Concat(first, strict.take(committed, 1))
	if got := bodies(both); !slices.Equal(got, []string{"kept", "open"}) {
		t.Errorf("with read-committed there is %q", got)
	}
	strict.settle(committed, driver.Ack, both...)
	must(t, committed.Close(t.Context()))
	must(t, everything.Close(t.Context()))
	again := strict.join()
	strict.none(again)
	must(t, again.Close(t.Context()))
}

func bodies(list []driver.Delivery) []string {
	all := make([]string, len(list))
	for i := range list {
		all[i] = string(list[i].Body)
	}
	return all
}

// Records without key, value or headers, and with odd ones, are read as they are, and
// settled.
func TestOddRecords(t *testing.T) {
	t.Parallel()
	b := set(t, quick(t))
	must(t, stranger(b).ProduceSync(t.Context(),
		&kgo.Record{},
		&kgo.Record{Key: []byte{}, Value: []byte{}},
		&kgo.Record{Key: []byte("\xff\x00"), Value: []byte("binary key")},
		&kgo.Record{Value: []byte("odd headers"), Headers: []kgo.RecordHeader{{}, {Key: "", Value: []byte("no name")}, {Key: "\xff", Value: []byte{}}, {Key: idHeader, Value: []byte("7")}}},
	).FirstErr())
	s := b.join()
	got := b.take(s, 4)
	for i, want := range []struct{ key, body, id string }{{"", "", ""}, {"", "", ""}, {"\xff\x00", "binary key", ""}, {"", "odd headers", "7"}} {
		d := &got[i]
		if d.Key != want.key || string(d.Body) != want.body || d.ID != want.id {
			t.Errorf("%d: key %q, body %q, ID %q; want %+v", i, d.Key, d.Body, d.ID, want)
		}
	}
	if h := got[3].Headers; h[""] != "no name" || h["\xff"] != "" || len(h) != 2 {
		t.Errorf("headers are %q", h)
	}
	b.settle(s, driver.Ack, got...)
	must(t, s.Close(t.Context()))
}
