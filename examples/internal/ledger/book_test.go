package ledger_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/pubsub"
)

// TestCheck: a ledger that finds nothing wrong proves something only if it can.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		numbers []int
		want    string
	}{
		"right":       {[]int{1, 2, 3}, ""},
		"twice":       {[]int{1, 2, 1, 2, 3}, ""},
		"missing":     {[]int{1, 3}, "billing got 2 of 3"},
		"too many":    {[]int{1, 2, 3, 4}, "billing got 4 of 3"},
		"out of turn": {[]int{1, 3, 2}, "billing: 2 of ada came after 3"},
	} {
		var out strings.Builder
		book := ledger.New(&out)
		members := []*ledger.Member{book.Member("billing", 3), book.Member("billing", 3)}
		for i, number := range c.numbers {
			members[i%2].TookInTurn("ada", number)
		}
		got := ""
		if err := book.Report(); err != nil {
			got = err.Error()
		}
		if got != c.want || !strings.Contains(out.String(), "BY MEMBER") {
			t.Errorf("%s: got %q, want %q\n%s", name, got, c.want, &out)
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	book := ledger.New(io.Discard)
	email, billing := book.Member("email", 1), book.Member("billing", 1)
	email.Took("a")
	email.Took("b") // does not stand in for what billing lacks
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := book.Wait(ctx); err == nil {
		t.Error("it does not wait for billing")
	}
	billing.Took("a")
	if err := book.Wait(t.Context()); err != nil || email.Got() != 2 {
		t.Errorf("%v, and email got %d", err, email.Got())
	}
}

func TestThisRun(t *testing.T) {
	t.Parallel()
	broker, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	open := func() (*pubsub.Client, *pubsub.Topic) {
		client, err := pubsub.New(t.Context(), broker, ledger.ThisRun()...)
		if err != nil {
			t.Fatal(err)
		}
		topic, err := client.Publisher(t.Context(), "tasks", pubsub.Queue())
		if err != nil {
			t.Fatal(err)
		}
		return client, topic
	}
	earlier, left := open()
	client, topic := open()
	worker, err := client.Subscriber(t.Context(), "tasks", pubsub.Queue(), pubsub.DropPermanent(), pubsub.Concurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*pubsub.Topic{left, topic} {
		if err := p.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	ctx, stop := context.WithCancel(t.Context())
	err = client.Serve(ctx, pubsub.Handle(worker, func(context.Context, *pubsub.Delivery) error {
		n++
		stop()
		return nil
	}))
	if err != nil || n != 1 {
		t.Errorf("%v, and %d messages; want that of this run alone", err, n)
	}
	if err := earlier.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
