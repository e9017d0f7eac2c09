// Rabbitmq measures the RabbitMQ driver beside the raw client and its peers: persistent
// messages of 256 bytes, published to a fanout exchange with one durable queue, each
// confirmed by the broker before it counts as published, and acknowledged after it was
// handled.
//
//	publish       one publisher that sends as fast as its interface lets it
//	publish-many  a thousand goroutines, each of which waits for its own message
//	consume       one subscription that reads what was published before
//	end-to-end    publish and consume together
//
// each on a quorum queue and on a classic one. The baseline is raw: amqp091-go as a careful
// programmer writes it, with a window of 1000 confirms, a prefetch of 1000 and an
// acknowledgement for each message. raw-multi acknowledges up to 100 at a time. A peer
// appears as it comes and, with -tuned behind its name, with the settings and goroutines
// that make it fast. Confirms and persistence are on for all, where that is not the
// default too.
//
// The broker is the one of -broker or WAYBILL_RABBITMQ_URL.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/waybill-go/waybill/bench/measure"
)

const (
	window   = 1000
	bodySize = 256
)

// A line is an exchange with a queue behind it.
type line struct {
	broker, exchange, queue string
	kind                    string // of the queue: quorum or classic
}

// An actor publishes to a line and consumes from it.
type actor interface {
	// publish sends n messages and returns when all are confirmed. many asks for a
	// thousand goroutines that each wait for their own.
	publish(ctx context.Context, n int, many bool) error
	// consume calls handled for every message until the actor is closed.
	consume(ctx context.Context, handled func()) error
	close(ctx context.Context) error
}

// A library makes actors.
type library struct {
	who    string
	slower int // how many times fewer messages make a round of a similar length
	cases  []string
	open   func(ctx context.Context, l line) (actor, error)
}

var everywhere = []string{"publish", "publish-many", "consume", "end-to-end"}

var libraries = []library{
	{"raw", 1, everywhere, openRaw(1)},
	{"raw-multi", 1, []string{"consume", "end-to-end"}, openRaw(100)},
	{"waybill", 1, everywhere, openWaybill},
	{"gocloud", 4, everywhere, openGocloud(false)},
	{"gocloud-tuned", 2, []string{"publish", "consume", "end-to-end"}, openGocloud(true)},
	{"watermill", 20, everywhere, openWatermill(false)},
	{"watermill-tuned", 4, everywhere, openWatermill(true)},
}

func main() {
	broker := flag.String("broker", os.Getenv("WAYBILL_RABBITMQ_URL"), "the broker's `URL`, rabbitmq://...")
	rounds := flag.Int("rounds", 5, "how many rounds count")
	messages := flag.Int("messages", 40_000, "how many messages the baseline carries in a round")
	out := flag.String("out", "results/rabbitmq.jsonl", "the `file` that results are appended to")
	only := flag.String("case", strings.Join(everywhere, ","), "the cases to measure")
	kinds := flag.String("queue", "quorum,classic", "the kinds of queue to measure")
	who := flag.String("who", "", "measure these beside the baseline alone")
	flag.Parse()
	if err := run(context.Background(), options{
		broker: *broker, rounds: *rounds, messages: *messages, out: *out,
		cases: strings.Split(*only, ","), kinds: strings.Split(*kinds, ","), who: *who,
	}); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	broker           string
	rounds, messages int
	out, who         string
	cases, kinds     []string
}

func run(ctx context.Context, o options) error {
	if o.broker == "" {
		return errors.New("no broker: set WAYBILL_RABBITMQ_URL, or run this through testing/brokers")
	}
	var rows []measure.Row
	for _, kind := range o.kinds {
		for _, name := range o.cases {
			measured, err := measure.Run(ctx, newCase(o, kind, name), o.rounds)
			if err != nil {
				return err
			}
			rows = append(rows, measured...)
		}
	}
	return measure.Report(os.Stdout, o.out, rows)
}

// newCase has the contenders of one case on one kind of queue.
func newCase(o options, kind, name string) measure.Case {
	c := measure.Case{Name: kind + "/" + name}
	for _, l := range libraries {
		if !slices.Contains(l.cases, name) || o.who != "" && l.who != "raw" && !slices.Contains(strings.Split(o.who, ","), l.who) {
			continue
		}
		c.Contenders = append(c.Contenders, l.contender(o.broker, kind, name, o.messages/l.slower))
	}
	return c
}

// contender does one case's work with a line of its own.
func (l library) contender(broker, kind, name string, messages int) measure.Contender {
	return measure.Contender{Who: l.who, Messages: messages, Prepare: func(ctx context.Context) (func(context.Context, int) error, func() error, error) {
		to, remove, err := newLine(broker, kind)
		if err != nil {
			return nil, nil, err
		}
		a, err := l.open(ctx, to)
		if err != nil {
			return nil, nil, err
		}
		if name == "consume" {
			if err := fill(ctx, to, messages); err != nil {
				return nil, nil, err
			}
		}
		run := func(ctx context.Context, n int) error { return play(ctx, a, name, n) }
		stop := func() error { return errors.Join(a.close(ctx), remove()) }
		return run, stop, nil
	}}
}

// play is what a case measures.
func play(ctx context.Context, a actor, name string, n int) error {
	if name == "publish" || name == "publish-many" {
		return a.publish(ctx, n, name == "publish-many")
	}
	all := measure.NewCountdown(n)
	if err := a.consume(ctx, all.Done); err != nil {
		return err
	}
	if name == "end-to-end" {
		if err := a.publish(ctx, n, false); err != nil {
			return err
		}
	}
	return all.Wait(ctx)
}
