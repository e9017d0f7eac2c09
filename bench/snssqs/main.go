// Snssqs measures the SNS/SQS driver beside Amazon's own client, gocloud.dev and Watermill, on
// an SQS queue: messages of 256 bytes, each confirmed before it counts as published, and
// deleted after it was handled.
//
//	publish     one publisher that sends as fast as its interface lets it
//	consume     one subscription that reads what was published before
//	end-to-end  publish and consume together
//
// The baseline is raw: Amazon's client in batches of ten, by 16 goroutines. Everyone
// speaks to the broker through a proxy that counts requests, a column of their own.
//
// The broker is the one of -broker or WAYBILL_SNSSQS_URL. On an emulator the speed is
// the emulator's; the requests are what Amazon would charge for.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/waybill-go/waybill/bench/measure"
)

const bodySize = 256

// An actor publishes to a queue and consumes from it.
type actor interface {
	// publish sends n messages and returns when all are confirmed.
	publish(ctx context.Context, n int) error
	// consume calls handled for every message until the actor is closed.
	consume(ctx context.Context, handled func()) error
	close(ctx context.Context) error
}

// A library makes actors.
type library struct {
	who    string
	slower int // how many times fewer messages make a round of a similar length
	open   func(ctx context.Context, b broker, queue string) (actor, error)
}

var everywhere = []string{"publish", "consume", "end-to-end"}

var libraries = []library{
	{"raw", 1, openRaw},
	{"waybill", 1, openWaybill},
	{"gocloud", 10, openGocloud(false)},
	{"gocloud-tuned", 2, openGocloud(true)},
	{"watermill", 10, openWatermill(false)},
	{"watermill-tuned", 5, openWatermill(true)},
}

func main() {
	url := flag.String("broker", os.Getenv("WAYBILL_SNSSQS_URL"), "the broker's `URL`, snssqs://...")
	rounds := flag.Int("rounds", 5, "how many rounds count")
	messages := flag.Int("messages", 5_000, "how many messages the baseline carries in a round")
	out := flag.String("out", "results/snssqs.jsonl", "the `file` that results are appended to")
	only := flag.String("case", strings.Join(everywhere, ","), "the cases to measure")
	flag.Parse()
	if err := run(context.Background(), *url, *rounds, *messages, *out, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string, rounds, messages int, out string, cases []string) error {
	if url == "" {
		return fmt.Errorf("no broker: set WAYBILL_SNSSQS_URL, or run this through testing/brokers")
	}
	var rows []measure.Row
	for _, name := range cases {
		c, end, err := newCase(url, name, messages)
		if err != nil {
			return err
		}
		measured, err := measure.Run(ctx, c, rounds)
		end()
		if err != nil {
			return err
		}
		rows = append(rows, measured...)
	}
	return measure.Report(os.Stdout, out, rows)
}

// newCase has the contenders of one case, each behind a proxy.
func newCase(url, name string, messages int) (c measure.Case, end func(), err error) {
	c.Name = name
	var proxies []*counter
	end = func() {
		for _, p := range proxies {
			p.close()
		}
	}
	for _, l := range libraries {
		p, b, err := count(url)
		if err != nil {
			end()
			return c, nil, err
		}
		proxies = append(proxies, p)
		contender := l.contender(b, name, messages/l.slower)
		contender.Counters = map[string]func() float64{"requests": p.total}
		c.Contenders = append(c.Contenders, contender)
	}
	return c, end, nil
}

// contender does one case's work with a queue of its own.
func (l library) contender(b broker, name string, messages int) measure.Contender {
	return measure.Contender{Who: l.who, Messages: messages, Prepare: func(ctx context.Context) (func(context.Context, int) error, func() error, error) {
		queue, remove, err := b.makeQueue(ctx)
		if err != nil {
			return nil, nil, err
		}
		if name == "consume" {
			if err := b.fill(ctx, queue, messages); err != nil {
				return nil, nil, err
			}
		}
		a, err := l.open(ctx, b, queue)
		if err != nil {
			return nil, nil, err
		}
		run := func(ctx context.Context, n int) error { return play(ctx, a, name, n) }
		stop := func() error {
			err := a.close(ctx)
			if removeErr := remove(); err == nil {
				err = removeErr
			}
			return err
		}
		return run, stop, nil
	}}
}

// play is what a case measures.
func play(ctx context.Context, a actor, name string, n int) error {
	if name == "publish" {
		return a.publish(ctx, n)
	}
	all := measure.NewCountdown(n)
	if err := a.consume(ctx, all.Done); err != nil {
		return err
	}
	if name == "end-to-end" {
		if err := a.publish(ctx, n); err != nil {
			return err
		}
	}
	return all.Wait(ctx)
}
