// Kafka measures the Kafka driver beside raw clients and its peers: messages of 256 bytes
// without compression, acks of all replicas, idempotent producers, six partitions.
//
//	publish-async  one goroutine that does not wait for each, where the interface lets it
//	publish-1      one goroutine that waits for each message; -16 and -1000 are as many
//	consume        a consumer group of one member reads what was published before
//	consume-keyed  the same, each of 1000 keys in order
//	slow           the same, 5 ms a message, from one partition
//	end-to-end     publish-async and consume together
//	rebalance      a second member joins a group through which messages flow, until it
//	               handled its first; then it leaves
//
// The baseline is sarama: its AsyncProducer, its SyncProducer where goroutines wait, and
// its consumer group with a loop in each claim. ratio_franz compares with franz-go.
// Connections and the group are there before the measuring begins: consumption is measured from the
// first message on.
//
// Everyone appears as it comes, with these exceptions: waybill-1000 handles a thousand
// messages at a time, and franz-go does not linger where goroutines wait.
//
// The broker is the one of -broker or WAYBILL_KAFKA_URL. -quick is for a look: few
// messages, one round.
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

const bodySize = 256

// An actor publishes to a line and consumes from it.
type actor interface {
	// publish sends n messages and returns when all are confirmed, from so many
	// goroutines that each wait for their own; 0: from one that does not wait.
	publish(ctx context.Context, n, goroutines int) error
	// consume joins the line's group and calls handled for every message until the
	// actor is closed.
	consume(ctx context.Context, handled func()) error
	close(ctx context.Context) error
}

// A library makes actors.
type library struct {
	who  string
	open func(ctx context.Context, l line) (actor, error)
	// share is how many messages it has of the case's, so that its rounds are of a similar
	// length; 1 unless it is listed. 0: it takes no part.
	share map[string]float64
}

var libraries = []library{
	{"sarama", openSarama, nil},
	{"waybill", openWaybill(0), map[string]float64{"slow": 16}},
	{"waybill-1000", openWaybill(1000), map[string]float64{
		"slow": 200, "publish-async": 0, "publish-1": 0, "publish-16": 0, "publish-1000": 0, "consume": 0, "consume-keyed": 0, "end-to-end": 0, "rebalance": 0,
	}},
	{"franz", openFranz, nil},
	{"gocloud", openGocloud, map[string]float64{"publish-async": .002, "consume": .02, "consume-keyed": .02, "end-to-end": .002, "rebalance": 0}},
	{"watermill", openWatermill, map[string]float64{"publish-async": .002, "consume": .1, "consume-keyed": .1, "end-to-end": .002, "rebalance": 0}},
}

// A kind of work, and how many of the messages of a round it has.
type kind struct {
	name       string
	share      float64
	goroutines int
}

var kinds = []kind{
	{"publish-async", 1, 0},
	{"publish-1", .001, 1},
	{"publish-16", .02, 16},
	{"publish-1000", .2, 1000},
	{"consume", 2, 0},
	{"consume-keyed", 2, 0},
	{"slow", .0005, 0},
	{"end-to-end", 1, 0},
	{"rebalance", 0, 0},
}

type options struct {
	broker           string
	rounds, messages int
	who              []string // beside the baselines; none: everyone
}

func main() {
	var o options
	flag.StringVar(&o.broker, "broker", os.Getenv("WAYBILL_KAFKA_URL"), "the broker's `URL`, kafka://...")
	flag.IntVar(&o.rounds, "rounds", 5, "how many rounds count")
	flag.IntVar(&o.messages, "messages", 200_000, "how many messages the baseline publishes in a round")
	quick := flag.Bool("quick", false, "20,000 messages, one round, and no results kept")
	out := flag.String("out", "results/kafka.jsonl", "the `file` that results are appended to")
	only := flag.String("case", "", "the cases to measure; default all")
	who := flag.String("who", "", "measure these beside sarama and franz alone")
	flag.Parse()
	if *quick {
		o.rounds, o.messages, *out = 1, 20_000, os.DevNull
	}
	if *who != "" {
		o.who = strings.Split(*who, ",")
	}
	if err := run(context.Background(), o, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, only, out string) error {
	if o.broker == "" {
		return errors.New("no broker: set WAYBILL_KAFKA_URL, or run this through testing/brokers")
	}
	cases, err := choose(only)
	if err != nil {
		return err
	}
	var rows []measure.Row
	for _, k := range cases {
		c, end, err := newCase(ctx, o, k)
		if err != nil {
			return err
		}
		measured, err := measure.Run(ctx, c, o.rounds)
		if err := errors.Join(err, end()); err != nil {
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
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no case %q", name)
		}
		chosen = append(chosen, kinds[i])
	}
	return chosen, nil
}

// newCase has the contenders of one case. What is read by all is published once.
func newCase(ctx context.Context, o options, k kind) (c measure.Case, end func() error, err error) {
	c = measure.Case{Name: k.name, Baseline: "sarama", Ratios: map[string]string{"ratio_franz": "franz"}}
	most := 0
	for _, l := range libraries {
		baseline := l.who == "sarama" || l.who == "franz"
		share, listed := l.share[k.name]
		if listed && share == 0 || !baseline && len(o.who) > 0 && !slices.Contains(o.who, l.who) {
			continue
		}
		if !listed {
			share = 1
		}
		n := max(int(float64(o.messages)*k.share*share), k.goroutines, 1)
		most = max(most, n)
		c.Contenders = append(c.Contenders, measure.Contender{Who: l.who, Messages: n})
	}
	shared, end, err := source(ctx, o.broker, k.name, most)
	if err != nil {
		return c, nil, err
	}
	for i := range c.Contenders {
		who := c.Contenders[i].Who
		l := libraries[slices.IndexFunc(libraries, func(l library) bool { return l.who == who })]
		c.Contenders[i].Prepare = func(ctx context.Context) (func(context.Context, int) error, func() error, error) {
			return l.prepare(ctx, k, shared)
		}
	}
	return c, end, nil
}
