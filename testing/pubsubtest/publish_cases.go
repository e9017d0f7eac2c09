package pubsubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// echo publishes messages and returns what one group receives of them.
func (k *kit) echo(messages ...*pubsub.Message) []*pubsub.Delivery {
	k.Helper()
	c, topic := k.client(), k.name("t")
	s := k.subscriber(c, topic, pubsub.Group("g"))
	k.must(k.publisher(c, topic).Publish(k.ctx, messages...))
	b := k.open(s, nil)
	got := b.take(len(messages))
	b.none()
	return got
}

var publishCases = []Case{
	{
		Name: "publish/intact", Why: "ID, key, headers and body arrive as they were published, or consumers act on something else.",
		needs: needsGroups,
		run: func(k *kit) {
			want := &pubsub.Message{ID: "id-1", Key: "key-1", Headers: map[string]string{"tenant": "a", "trace": "b"}, Body: []byte("hello")}
			d := k.echo(want)[0]
			if d.ID != want.ID || d.Key != want.Key || !maps.Equal(d.Headers, want.Headers) || !bytes.Equal(d.Body, want.Body) {
				k.Errorf("got ID %q, key %q, headers %v, body %q; published %+v", d.ID, d.Key, d.Headers, d.Body, *want)
			}
		},
	},
	{
		Name: "publish/many", Why: "Every message of one Publish arrives: a nil error says that all are stored.",
		needs: needsGroups,
		run: func(k *kit) {
			var list []*pubsub.Message
			for _, body := range numbers(250) {
				list = append(list, &pubsub.Message{Body: []byte(body)})
			}
			k.same(numbers(250), bodies(k.echo(list...)))
		},
	},
	{
		Name: "publish/async", Why: "PublishAsync tells each outcome exactly once, or callers wait for ever or count twice.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), nil)
			p := k.publisher(c, topic)
			outcomes := make(chan error, 1000)
			for _, body := range numbers(300) {
				p.PublishAsync(k.ctx, &pubsub.Message{Body: []byte(body)}, func(err error) { outcomes <- err })
			}
			for range 300 {
				k.must(await(k, outcomes, "an outcome"))
			}
			k.same(numbers(300), bodies(b.take(300)))
			if len(outcomes) > 0 {
				k.Errorf("%d outcomes too many", len(outcomes))
			}
		},
	},
	{
		Name: "publish/one-fate", Why: "A driver tells each message's fate exactly once: the engine's bounds and its callers rest on it.",
		run: func(k *kit) {
			topic, err := k.conn().Topic(k.ctx, driver.TopicRequest{Topic: k.name("t")})
			k.must(err)
			var mu sync.Mutex
			const rounds = 2
			var told [rounds]map[int]int
			n := 10
			if most := k.caps.SendBatch.Messages; most > 0 {
				n = min(n, most)
			}
			fates := make(chan driver.Fate, 100)
			for round := range rounds { // an earlier one's must not be told again with a later one's
				told[round] = map[int]int{}
				topic.Send(k.ctx, make([]driver.Message, n), func(i int, f driver.Fate, _ error) {
					mu.Lock()
					defer mu.Unlock()
					told[round][i]++
					fates <- f
				})
				for range n {
					if f := await(k, fates, "a fate"); f != driver.Stored {
						k.Errorf("a message is %s", f)
					}
				}
			}
			k.must(topic.Close(k.ctx))
			mu.Lock()
			defer mu.Unlock()
			for round := range rounds {
				for i, times := range told[round] {
					if times != 1 {
						k.Errorf("the fate of message %d was told %d times", i, times)
					}
				}
			}
		},
	},
	{
		Name: "publish/empty-body", Why: "A message without a body is a message: signals are sent that way.",
		needs: needsGroups,
		run: func(k *kit) {
			for _, d := range k.echo(&pubsub.Message{}, &pubsub.Message{Body: []byte{}}) {
				if len(d.Body) != 0 {
					k.Errorf("got body %q, want none", d.Body)
				}
			}
		},
	},
	{
		Name: "publish/big-body", Why: "A body near the limit arrives whole: cut ones corrupt data.",
		needs: needsGroups,
		run: func(k *kit) {
			n := 1 << 20
			if k.caps.MessageBytes > 0 {
				n = min(n, k.caps.MessageBytes)
			}
			body := bytes.Repeat([]byte("0123456789abcdef"), n/16)
			if got := k.echo(&pubsub.Message{Body: body})[0].Body; !bytes.Equal(got, body) {
				k.Errorf("got %d bytes, published %d, or others", len(got), len(body))
			}
		},
	},
	{
		Name: "publish/binary-body", Why: "Bodies are bytes, not text: compressed or encrypted ones must survive.",
		needs: needsGroups,
		run: func(k *kit) {
			body := make([]byte, 256)
			for i := range body {
				body[i] = byte(i)
			}
			if got := k.echo(&pubsub.Message{Body: body})[0].Body; !bytes.Equal(got, body) {
				k.Errorf("got %x, published %x", got, body)
			}
		},
	},
	{
		Name: "publish/many-headers", Why: "Headers beyond a broker's own few must not be dropped: tracing and tenancy live there.",
		needs: needsGroups,
		run: func(k *kit) {
			n := 50
			if k.caps.Headers > 0 {
				n = min(n, k.caps.Headers)
			}
			want := map[string]string{}
			for i := range n {
				want[fmt.Sprintf("header-%d", i)] = fmt.Sprint("value ", i)
			}
			if got := k.echo(&pubsub.Message{Headers: want})[0].Headers; !maps.Equal(got, want) {
				k.Errorf("got %d headers %v, published %d", len(got), got, n)
			}
		},
	},
	{
		Name: "publish/odd-headers", Why: "Names keep their case, and values may be empty, long, multi-line or, where claimed, binary.",
		needs: needsGroups,
		run: func(k *kit) {
			want := map[string]string{
				"Mixed-Case": "a", "mixed-case": "b", "empty": "", "unicode": "žluťoučký 🐴", "lines": "a\r\nb\tc",
				"spaces": "  both  ", "dotted.name_1": "x", "quotes": `"'\<&>`, "long": strings.Repeat("x", 900),
			}
			if !k.caps.TextHeaders {
				want["binary"] = "\x00\xff\xfe"
			}
			got := k.echo(&pubsub.Message{Headers: want})[0].Headers
			for name, value := range want {
				if v, ok := got[name]; !ok || v != value {
					k.Errorf("header %q: got %q (there: %t), published %q", name, v, ok, value)
				}
			}
			if len(got) != len(want) {
				k.Errorf("got %d headers, published %d", len(got), len(want))
			}
		},
	},
	{
		Name: "publish/too-large", Why: "A message over the limit is refused by name, and its neighbours are stored all the same.",
		needs: needs("has no limit of size", func(c *driver.Capabilities) bool { return c.MessageBytes > 0 && c.Groups }),
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), nil)
			err := k.publisher(c, topic).Publish(k.ctx,
				&pubsub.Message{Body: []byte("a")}, &pubsub.Message{Body: make([]byte, k.caps.MessageBytes+1)}, &pubsub.Message{Body: []byte("b")})
			k.code(err, pubsub.CodeTooLarge, "publish three, one too large")
			var partial *pubsub.PublishError
			if !errors.As(err, &partial) || len(partial.Failed) != 1 || partial.Failed[0].Index != 1 {
				k.Errorf("error %v does not name message 1 alone", err)
			}
			k.same([]string{"a", "b"}, bodies(b.take(2)))
		},
	},
	{
		Name: "publish/buffer-reused", Why: "A message is the caller's again after Publish: buffers from pools must not reach consumers changed.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			s := k.subscriber(c, topic, pubsub.Group("g"))
			p := k.publisher(c, topic)
			m := &pubsub.Message{Body: []byte("first"), Headers: map[string]string{"h": "first"}}
			k.must(p.Publish(k.ctx, m))
			copy(m.Body, "later")
			m.Headers["h"] = "later"
			d := k.open(s, nil).next()
			if string(d.Body) != "first" || d.Headers["h"] != "first" {
				k.Errorf("got body %q, header %q: the publisher's later changes", d.Body, d.Headers["h"])
			}
		},
	},
	{
		Name: "publish/no-reader", Why: "An event that nobody reads is no error: publishers do not know their readers.",
		run: func(k *kit) {
			k.must(k.publisher(k.client(), k.name("t")).Publish(k.ctx, &pubsub.Message{Body: []byte("x")}))
		},
	},
	{
		Name: "publish/time", Why: "PublishTime is the time of publishing or absent: delays and alerts are computed from it.",
		needs: needsGroups,
		run: func(k *kit) {
			if at := k.echo(&pubsub.Message{})[0].PublishTime; !at.IsZero() && time.Since(at).Abs() > time.Hour {
				k.Errorf("PublishTime is %v", at)
			}
		},
	},
	{
		Name: "publish/canceled", Why: "A Publish whose context has ended stores nothing and says so.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), nil)
			ctx, cancel := context.WithCancel(k.ctx)
			cancel()
			p := k.publisher(c, topic)
			k.code(p.Publish(ctx, &pubsub.Message{Body: []byte("no")}), pubsub.CodeCanceled, "publish with an ended context")
			k.publish(p, "", "yes")
			k.same([]string{"yes"}, bodies(b.take(1)))
			b.none()
		},
	},
	{
		Name: "publish/concurrent", Why: "Publishers are shared by goroutines: nothing is lost, repeated or mixed up.",
		needs: needsGroups,
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), nil)
			p := k.publisher(c, topic)
			var wait sync.WaitGroup
			var want []string
			for g := range 8 {
				for i := range 40 {
					want = append(want, fmt.Sprint(g, "-", i))
				}
				wait.Go(func() {
					for i := range 40 {
						if err := p.Publish(k.ctx, &pubsub.Message{Body: []byte(fmt.Sprint(g, "-", i))}); err != nil {
							k.Errorf("publish: %v", err)
						}
					}
				})
			}
			wait.Wait()
			k.same(want, bodies(b.take(len(want))))
			b.none()
		},
	},
	{
		Name: "publish/delay", Why: "A delayed message does not come early: reminders and backoffs are built on it.",
		needs: needs("does not delay", func(c *driver.Capabilities) bool { return c.PublishDelay > 0 && c.Groups }),
		run: func(k *kit) {
			c, topic := k.client(), k.name("t")
			var sent, came atomic.Int64
			b := k.open(k.subscriber(c, topic, pubsub.Group("g")), func(_ context.Context, d *pubsub.Delivery) error {
				if string(d.Body) == "later" {
					came.Store(time.Now().UnixNano())
				}
				return nil
			})
			p, delay := k.publisher(c, topic), min(time.Second, k.caps.PublishDelay)
			sent.Store(time.Now().UnixNano())
			k.must(p.Publish(k.ctx, &pubsub.Message{Body: []byte("later"), Delay: delay}))
			k.publish(p, "", "now")
			got := b.take(2) // in their order, unless this took longer than the delay
			b.close()
			k.same([]string{"later", "now"}, bodies(got))
			for _, d := range got {
				if d.Delay != 0 {
					k.Errorf("delivery %q has Delay %v, want 0", d.Body, d.Delay)
				}
			}
			if early := delay - time.Duration(came.Load()-sent.Load()); early > delay/20 {
				k.Errorf("came %v early", early)
			}
		},
	},
	{
		Name: "publish/delay-refused", Why: "A delay beyond the broker's is refused, not shortened in silence.",
		needs: needs("delays without limit", func(c *driver.Capabilities) bool { return c.PublishDelay < driver.Unlimited }),
		run: func(k *kit) {
			err := k.publisher(k.client(), k.name("t")).Publish(k.ctx, &pubsub.Message{Delay: k.caps.PublishDelay + time.Hour})
			k.code(err, pubsub.CodeUnsupported, "publish with a longer delay")
		},
	},
}

// same compares bodies without their order.
func (k *kit) same(want, got []string) {
	k.Helper()
	want, got = slices.Clone(want), slices.Clone(got)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		k.Errorf("got %d: %s; want %d: %s", len(got), short(got), len(want), short(want))
	}
}

func short(list []string) string {
	s := fmt.Sprintf("%.200q", list)
	return s[:min(len(s), 400)]
}
