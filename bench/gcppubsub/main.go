// Gcppubsub measures the Google Cloud Pub/Sub driver beside Google's own client and
// gocloud.dev: messages of 256 bytes, each confirmed before it counts as published, and
// acknowledged after it was handled.
//
//	publish     one publisher that sends as fast as its interface lets it
//	ordered     the same with 1000 ordering keys in turn
//	consume     one subscription that reads what was published before, until the last
//	            acknowledgement has arrived
//	end-to-end  publish and consume together
//
// The baseline is raw: cloud.google.com/go/pubsub/v2 with the settings that make it
// fastest. raw-default is the same client as it comes; gocloud has a hundred senders
// and as many receivers, and no ordering keys.
//
// The broker is a server in this process that does as little as can be (fake.go): what is
// measured is the clients.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/waybill-go/waybill/bench/measure"
)

const (
	bodySize = 256
	keys     = 1000
	project  = "bench"
)

// A line is a topic and its one subscription.
type line struct {
	broker              *fake
	topic, subscription string // without the project
	ordered             bool
}

func (l line) topicName() string { return "projects/" + project + "/topics/" + l.topic }

func (l line) subscriptionName() string {
	return "projects/" + project + "/subscriptions/" + l.subscription
}

// An actor publishes to a line and consumes from it.
type actor interface {
	// publish sends n messages and returns when all are confirmed.
	publish(ctx context.Context, n int) error
	// consume acknowledges every message until the actor is closed.
	consume(ctx context.Context) error
	close(ctx context.Context) error
}

// A library makes actors.
type library struct {
	who    string
	slower int // how many times fewer messages make a round of a similar length
	cases  []string
	open   func(ctx context.Context, l line) (actor, error)
}

var everywhere = []string{"publish", "ordered", "consume", "end-to-end"}

var libraries = []library{
	{"raw", 1, everywhere, openRaw(true)},
	{"raw-default", 5, everywhere, openRaw(false)},
	{"waybill", 1, everywhere, openWaybill},
	{"gocloud", 4, []string{"publish", "consume", "end-to-end"}, openGocloud},
}

func main() {
	rounds := flag.Int("rounds", 5, "how many rounds count")
	messages := flag.Int("messages", 100_000, "how many messages the baseline carries in a round")
	out := flag.String("out", "results/gcppubsub.jsonl", "the `file` that results are appended to")
	only := flag.String("case", strings.Join(everywhere, ","), "the cases to measure")
	who := flag.String("who", "", "measure these beside the baseline alone")
	flag.Parse()
	if err := run(context.Background(), *rounds, *messages, *out, strings.Split(*only, ","), *who); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds, messages int, out string, cases []string, who string) error {
	var rows []measure.Row
	for _, name := range cases {
		measured, err := measure.Run(ctx, newCase(name, messages, who), rounds)
		if err != nil {
			return err
		}
		rows = append(rows, measured...)
	}
	return measure.Report(os.Stdout, out, rows)
}

// newCase has the contenders of one case.
func newCase(name string, messages int, who string) measure.Case {
	c := measure.Case{Name: name}
	for _, l := range libraries {
		if slices.Contains(l.cases, name) && (who == "" || l.who == "raw" || slices.Contains(strings.Split(who, ","), l.who)) {
			c.Contenders = append(c.Contenders, l.contender(name, messages/l.slower))
		}
	}
	return c
}

// contender does one case's work with a broker of its own.
func (l library) contender(name string, messages int) measure.Contender {
	return measure.Contender{Who: l.who, Messages: messages, Prepare: func(ctx context.Context) (func(context.Context, int) error, func() error, error) {
		broker, err := newFake(ctx)
		if err != nil {
			return nil, nil, err
		}
		topic := "bench-" + strings.ToLower(rand.Text()[:10])
		to := line{broker, topic, topic + ".readers", name == "ordered"}
		a, all, err := l.prepare(ctx, to, name, messages)
		if err != nil {
			broker.close()
			return nil, nil, err
		}
		run := func(ctx context.Context, n int) error { return play(ctx, a, all, name, n) }
		stop := func() error {
			defer broker.close()
			return a.close(ctx)
		}
		return run, stop, nil
	}}
}

// prepare makes a line and its actor. The countdown is of acknowledgements.
func (l library) prepare(ctx context.Context, to line, name string, messages int) (actor, *measure.Countdown, error) {
	a, err := l.open(ctx, to)
	if err != nil {
		return nil, nil, err
	}
	all := measure.NewCountdown(messages)
	if name == "consume" {
		err = to.broker.fill(to.topicName(), messages)
	}
	if name == "consume" || name == "end-to-end" {
		err = errors.Join(err, to.broker.onAck(to.subscriptionName(), all.Done))
	}
	if err != nil {
		return nil, nil, errors.Join(err, a.close(ctx))
	}
	return a, all, nil
}

// play is what a case measures.
func play(ctx context.Context, a actor, all *measure.Countdown, name string, n int) error {
	if name == "publish" || name == "ordered" {
		return a.publish(ctx, n)
	}
	if err := a.consume(ctx); err != nil {
		return err
	}
	if name == "end-to-end" {
		if err := a.publish(ctx, n); err != nil {
			return err
		}
	}
	return all.Wait(ctx)
}
