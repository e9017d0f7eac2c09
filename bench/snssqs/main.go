// Snssqs measures the SNS/SQS driver beside Amazon's own client, gocloud.dev and Watermill, on
// an SQS queue: messages of 256 bytes, each confirmed before it counts as published, and
// deleted after it was handled.
//
//	publish     one publisher that sends as fast as its interface lets it
//	consume     one subscription that reads what was published before, until the last
//	            message is deleted
//	end-to-end  publish and consume together
//
// The baseline is raw: Amazon's client in batches of ten, by 16 goroutines. Requests are
// counted, a column of their own.
//
// Each case is measured on two servers. Neither is Amazon.
//
//   - An emulator, the one of -broker or WAYBILL_SNSSQS_URL, behind a proxy that counts. Its
//     speed bounds all: it is one process that does one thing at a time. It also looks
//     through its queue for each receive and for each message of a delete, so that it is the
//     slower the more there is queued. Hence all contenders carry the same number of
//     messages: a slow one with a tenth of them would have a faster emulator.
//   - A server in this process (server.go) that answers each request after -latency, however
//     many run and however much is queued. The names of its cases begin with "latency: ".
//     What counts there, as on Amazon, is how many requests a library keeps under way, and
//     what it has in each. A contender that has one request at a time with one message in it
//     carries fewer messages there, which changes nothing but the time that it takes: the
//     others would wait minutes for it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/waybill-go/waybill/bench/measure"
)

const bodySize = 256

// An actor publishes to a queue and consumes from it.
type actor interface {
	// publish sends n messages and returns when all are confirmed.
	publish(ctx context.Context, n int) error
	// consume handles and deletes every message until the actor is closed.
	consume(ctx context.Context) error
	close(ctx context.Context) error
}

// A library makes actors.
type library struct {
	who  string
	open func(ctx context.Context, b broker, queue string) (actor, error)
	// fewer is how many times fewer messages it carries on the server with a latency, so
	// that its rounds are of a similar length; 1 unless a case is listed.
	fewer map[string]int
}

var libraries = []library{
	{"raw", openRaw, nil},
	{"waybill", openWaybill, nil},
	{"gocloud", openGocloud(false), map[string]int{"publish": 50, "end-to-end": 50}},
	{"gocloud-tuned", openGocloud(true), nil},
	{"watermill", openWatermill(false), map[string]int{"publish": 50, "consume": 100, "end-to-end": 100}},
	{"watermill-tuned", openWatermill(true), map[string]int{"publish": 10, "consume": 10, "end-to-end": 10}},
}

// A kind of work, on the emulator or on the server with a latency.
type kind struct {
	work    string
	latency bool
}

func (k kind) name() string {
	if k.latency {
		return "latency: " + k.work
	}
	return k.work
}

var kinds = []kind{
	{"publish", false}, {"consume", false}, {"end-to-end", false},
	{"publish", true}, {"consume", true}, {"end-to-end", true},
}

type options struct {
	broker   string
	latency  time.Duration
	rounds   int
	messages int // on the emulator
	many     int // on the server with a latency
	who      []string
}

func main() {
	var o options
	flag.StringVar(&o.broker, "broker", os.Getenv("WAYBILL_SNSSQS_URL"), "the `URL` of the emulator, snssqs://...")
	flag.DurationVar(&o.latency, "latency", 10*time.Millisecond, "how long a request takes on our own server")
	flag.IntVar(&o.rounds, "rounds", 7, "how many rounds count")
	flag.IntVar(&o.messages, "messages", 1_000, "how many messages each contender carries in a round on the emulator")
	flag.IntVar(&o.many, "many", 10_000, "how many the baseline carries in a round on our own server")
	out := flag.String("out", "results/snssqs.jsonl", "the `file` that results are appended to")
	only := flag.String("case", "", "the cases to measure, as publish or 'latency: publish', with commas between; default all")
	who := flag.String("who", "", "measure these beside the baseline alone")
	flag.Parse()
	if *who != "" {
		o.who = strings.Split(*who, ",")
	}
	if err := run(context.Background(), o, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, only, out string) error {
	cases, err := choose(only)
	if err != nil {
		return err
	}
	var rows []measure.Row
	for _, k := range cases {
		c, end, err := newCase(o, k)
		if err != nil {
			return err
		}
		measured, err := measure.Run(ctx, c, o.rounds)
		end()
		if err != nil {
			return err
		}
		rows = append(rows, measured...)
	}
	return measure.Report(os.Stdout, out, rows)
}

// choose finds the cases that are named, all if none is.
func choose(names string) ([]kind, error) {
	if names == "" {
		return kinds, nil
	}
	var chosen []kind
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name() == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no case %q", name)
		}
		chosen = append(chosen, kinds[i])
	}
	return chosen, nil
}

// newCase has the contenders of one case, each with a server of its own, or with a proxy
// before the emulator.
func newCase(o options, k kind) (c measure.Case, end func(), err error) {
	c.Name = k.name()
	var stops []func()
	end = func() {
		for _, stop := range stops {
			stop()
		}
	}
	for _, l := range libraries {
		if l.who != "raw" && len(o.who) > 0 && !slices.Contains(o.who, l.who) {
			continue
		}
		b, t, stop, err := o.start(k)
		if err != nil {
			end()
			return c, nil, err
		}
		stops = append(stops, stop)
		messages := o.messages
		if k.latency {
			messages = max(o.many/max(l.fewer[k.work], 1), 1)
		}
		contender := l.contender(b, t, k.work, messages)
		contender.Counters = map[string]func() float64{"requests": t.total}
		c.Contenders = append(c.Contenders, contender)
	}
	return c, end, nil
}

// start starts what a contender speaks to.
func (o options) start(k kind) (broker, *tally, func(), error) {
	if k.latency {
		s, b := serve(o.latency)
		return b, &s.tally, s.close, nil
	}
	if o.broker == "" {
		return broker{}, nil, nil, errors.New("no broker: set WAYBILL_SNSSQS_URL, or run this through testing/brokers")
	}
	c, b, err := count(o.broker)
	if err != nil {
		return broker{}, nil, nil, err
	}
	return b, &c.tally, c.close, nil
}

// contender does one case's work with a queue of its own.
func (l library) contender(b broker, t *tally, work string, messages int) measure.Contender {
	return measure.Contender{Who: l.who, Messages: messages, Prepare: func(ctx context.Context) (func(context.Context, int) error, func() error, error) {
		queue, remove, err := b.makeQueue(ctx)
		if err != nil {
			return nil, nil, err
		}
		if work == "consume" {
			if err := b.fill(ctx, queue, messages); err != nil {
				return nil, nil, err
			}
		}
		a, err := l.open(ctx, b, queue)
		if err != nil {
			return nil, nil, err
		}
		run := func(ctx context.Context, n int) error { return play(ctx, a, t, work, n) }
		stop := func() error { return errors.Join(a.close(ctx), remove()) }
		return run, stop, nil
	}}
}

// play is what a case measures.
func play(ctx context.Context, a actor, t *tally, work string, n int) error {
	if work == "publish" {
		return a.publish(ctx, n)
	}
	all := measure.NewCountdown(n)
	t.onDelete(all.Done)
	if err := a.consume(ctx); err != nil {
		return err
	}
	if work == "end-to-end" {
		if err := a.publish(ctx, n); err != nil {
			return err
		}
	}
	return all.Wait(ctx)
}
