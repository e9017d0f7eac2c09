// Memory measures the memory driver beside its peers: one publisher that publishes
// one message at a time and waits for each, and subscribers that acknowledge.
//
//	one   one subscriber
//	ten   ten subscribers, each of which gets every message
//	idle  one subscriber and one message at a time, handled before the next
//
// The process holds a heap of 64 MiB that is none of the contenders', as services do:
// with an empty one the garbage collector would run some hundred times a second, and
// its fixed costs would be measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/waybill-go/waybill/bench/measure"
)

// A library prepares subscribers, each of which calls handled for every message, and
// returns how to publish a message and how to end it all.
type library struct {
	who     string
	slower  int // how many times fewer messages make a round of a similar length
	prepare func(ctx context.Context, subscribers int, handled func()) (publish func(context.Context, []byte) error, stop func() error, err error)
}

var libraries = []library{
	{"bare", 1, prepareBare},
	{"waybill", 1, prepareWaybill},
	{"waybill-otel", 10, prepareTelemetry(1)},
	{"waybill-otel-1%", 2, prepareTelemetry(.01)},
	{"gocloud", 20, prepareGocloud},
	{"watermill", 10, prepareWatermill},
}

const bodySize = 256

// channelSize is how far a publisher gets ahead of a subscriber, where that can be said.
const channelSize = 1024

func main() {
	rounds := flag.Int("rounds", 7, "how many rounds count")
	messages := flag.Int("messages", 400_000, "how many messages the baseline carries in a round")
	out := flag.String("out", "results/memory.jsonl", "the `file` that results are appended to")
	only := flag.String("case", "one,ten,idle", "the cases to measure")
	flag.Parse()
	heap := make([]byte, 64<<20)
	err := run(context.Background(), *rounds, *messages, strings.Split(*only, ","), *out)
	runtime.KeepAlive(heap)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds, messages int, only []string, out string) error {
	var rows []measure.Row
	for _, c := range cases(messages) {
		if !slices.Contains(only, c.Name) {
			continue
		}
		measured, err := measure.Run(ctx, c, rounds)
		if err != nil {
			return err
		}
		rows = append(rows, measured...)
	}
	return measure.Report(os.Stdout, out, rows)
}

func cases(messages int) []measure.Case {
	one := measure.Case{Name: "one"}
	ten := measure.Case{Name: "ten"}
	idle := measure.Case{Name: "idle"}
	for _, l := range libraries {
		one.Contenders = append(one.Contenders, l.stream(1, messages/l.slower))
		ten.Contenders = append(ten.Contenders, l.stream(10, messages/l.slower/8))
		idle.Contenders = append(idle.Contenders, l.pingPong(messages/l.slower/40))
	}
	return []measure.Case{one, ten, idle}
}

// stream publishes as fast as it goes and waits until all is handled.
func (l library) stream(subscribers, messages int) measure.Contender {
	return measure.Contender{Who: l.who, Messages: messages, Prepare: func(ctx context.Context) (func(context.Context, int) error, func() error, error) {
		all := measure.NewCountdown(messages * subscribers)
		publish, stop, err := l.prepare(ctx, subscribers, all.Done)
		run := func(ctx context.Context, n int) error {
			body := make([]byte, bodySize)
			for range n {
				if err := publish(ctx, body); err != nil {
					return err
				}
			}
			return all.Wait(ctx)
		}
		return run, stop, err
	}}
}

// pingPong publishes a message when the one before is handled.
func (l library) pingPong(messages int) measure.Contender {
	return measure.Contender{Who: l.who, Messages: messages, Prepare: func(ctx context.Context) (func(context.Context, int) error, func() error, error) {
		handled := make(chan struct{}, 1)
		publish, stop, err := l.prepare(ctx, 1, func() { handled <- struct{}{} })
		run := func(ctx context.Context, n int) error {
			body := make([]byte, bodySize)
			for range n {
				if err := publish(ctx, body); err != nil {
					return err
				}
				select {
				case <-handled:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		}
		return run, stop, err
	}}
}
