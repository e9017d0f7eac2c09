package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/brokers"
)

// The letters of TestRedriveKilled.
const (
	deadKeys = 3
	deadEach = 20
)

// TestRedriveKilled makes poison on every broker, looks at it, kills a redrive in the middle
// of it, and goes on: everything comes back, and each key in its order.
func TestRedriveKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for leases of real brokers")
	}
	binary := filepath.Join(t.TempDir(), "waybill")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	for name, start := range map[string]func(testing.TB, ...brokers.Option) *brokers.Broker{
		"gcppubsub": brokers.GCPPubSub, "kafka": brokers.Kafka, "rabbitmq": brokers.RabbitMQ, "snssqs": brokers.SNSSQS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := fmt.Sprintf(`
brokers: {main: {url: %q}}
topics: {orders: {ordered: true}, dead: {kind: queue, ordered: true}}
subscriptions:
  billing: {topic: orders, group: billing, max-attempts: 5, dead-letter: {topic: dead}}
  email: {topic: orders, group: email, drop-permanent: true}
`, start(t, brokers.Private()).URL)
			file := filepath.Join(t.TempDir(), "shop.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			redriveKilled(t, binary, file, name)
		})
	}
}

func redriveKilled(t *testing.T, binary, file, name string) {
	t.Helper()
	must := func(in string, args ...string) string {
		t.Helper()
		code, out, errs := command(t, in, append(args, "-f", file)...)
		if code != 0 {
			t.Fatalf("%q: exit %d: %s%s", args, code, out, errs)
		}
		return out
	}
	must("", "apply")
	var in strings.Builder
	for n := range deadEach {
		for key := range deadKeys {
			fmt.Fprintf(&in, `{"id":"key%d-%d","key":"key%d","body":"%d"}`+"\n", key, n, key, n)
		}
	}
	must(in.String(), "pub", "orders", "--format", "json")
	poison(t, file, deadKeys*deadEach)

	// What is listed is seen by a reader that takes nothing.
	var list []deadTopic
	if err := json.Unmarshal([]byte(must("", "dlq", "list", "-o", "json", "--quiet", "6s")), &list); err != nil {
		t.Fatal(err)
	}
	all := deadKeys * deadEach
	if name == "snssqs" {
		all = 1 // FIFO shows no more of a key while its first few are held
	}
	l := list[0]
	reasons := map[string]bool{}
	for _, g := range l.Letters {
		if g.Source == "orders" && g.Group == "billing" {
			reasons[g.Reason] = true
		}
	}
	if l.Seen < all || len(l.Letters) != deadKeys || !reasons["no account for key0"] || !reasons["no account for key1"] || !reasons["no account for key2"] {
		t.Fatalf("listed %+v", l)
	}
	if out := must("", "dlq", "show", "dead", "--key", "key1", "--quiet", "6s"); !strings.Contains(out, "id         key1-0\n") || !strings.Contains(out, "body       0\n") {
		t.Errorf("shown: %s", out)
	}

	back := readBack(t, file)
	kill(t, binary, file, back)
	t.Logf("after the kill: %s", must("", "dlq", "redrive", "dead"))
	back.await(t, deadKeys*deadEach)
	back.end(t)
	if out := must("", "dlq", "redrive", "dead", "--quiet", "2s"); !strings.HasPrefix(out, "0 redriven") {
		t.Errorf("a third time: %s", out)
	}
	var want []string
	for n := range deadEach {
		want = append(want, fmt.Sprint(n))
	}
	for key, got := range back.order {
		if !slices.Equal(got, want) {
			t.Errorf("%s came back as %v", key, got)
		}
	}
	t.Logf("%d deliveries of %d letters", back.deliveries, len(back.seen))
}

// kill redrives slowly, and ends it in the middle without a chance to tidy up.
func kill(t *testing.T, binary, file string, back *returned) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, "dlq", "redrive", "dead", "-f", file, "--rate", "6")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	back.await(t, 10)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatalf("it was done before it was killed: %s", &out)
	}
}

// returned is what billing gets back. What was under way when the redrive was killed may
// come twice.
type returned struct {
	stop context.CancelFunc
	done chan error

	mu         sync.Mutex
	deliveries int
	seen       map[string]bool
	order      map[string][]string // bodies by key, as they came first
	more       chan struct{}       // holds one token
}

func readBack(t *testing.T, file string) *returned {
	t.Helper()
	client, billing := openBilling(t, file)
	ctx, stop := context.WithCancel(t.Context())
	r := &returned{stop: stop, done: make(chan error, 1), seen: map[string]bool{}, order: map[string][]string{}, more: make(chan struct{}, 1)}
	go func() { r.done <- client.Serve(ctx, pubsub.Handle(billing, r.handle)) }()
	return r
}

func (r *returned) handle(_ context.Context, d *pubsub.Delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deliveries++
	if !r.seen[d.ID] {
		r.seen[d.ID] = true
		r.order[d.Key] = append(r.order[d.Key], string(d.Body))
	}
	select {
	case r.more <- struct{}{}:
	default:
	}
	return nil
}

// await waits until so many letters have come back.
func (r *returned) await(t *testing.T, n int) {
	t.Helper()
	for deadline := time.After(2 * time.Minute); ; {
		r.mu.Lock()
		seen := len(r.seen)
		r.mu.Unlock()
		if seen >= n {
			return
		}
		select {
		case <-r.more:
		case <-deadline:
			t.Fatalf("%d of %d came back", seen, n)
		}
	}
}

func (r *returned) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

// TestNativeDeadLetters: those that the broker moved come back as well, to their group alone,
// whatever they tell.
func TestNativeDeadLetters(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for leases of real brokers")
	}
	for name, start := range map[string]func(testing.TB, ...brokers.Option) *brokers.Broker{
		"gcppubsub": brokers.GCPPubSub, "rabbitmq": brokers.RabbitMQ, "snssqs": brokers.SNSSQS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := fmt.Sprintf(`
brokers: {main: {url: %q}}
topics: {orders: {}, dead: {kind: queue}}
subscriptions:
  billing: {topic: orders, group: billing, max-attempts: 5, dead-letter: {topic: dead, by: broker}, retry: {max: 1s}}
  email: {topic: orders, group: email, drop-permanent: true}
`, start(t, brokers.Private()).URL)
			file := filepath.Join(t.TempDir(), "shop.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct{ in, args, want string }{
				{"", "apply", "billing"},
				{"one\n", "pub orders --key ada", "1 published"},
				{"", "sub email --count 1", "one"},
			} {
				if code, out, errs := command(t, step.in, append(strings.Fields(step.args), "-f", file)...); code != 0 || !strings.Contains(out, step.want) {
					t.Fatalf("%s: exit %d, %s%s", step.args, code, out, errs)
				}
			}
			poison(t, file, 1)
			back := readBack(t, file)
			for _, step := range []struct{ args, want string }{
				{"dlq list", "orders  billing  1 "},
				{"dlq redrive dead", "1 redriven\n"},
				{"pub orders --key bob", "1 published"},
				{"sub email --count 1", "two\n"}, // and not what was brought back for billing
			} {
				if code, out, errs := command(t, "two\n", append(strings.Fields(step.args), "-f", file)...); code != 0 || !strings.Contains(out, step.want) {
					t.Errorf("%s: exit %d, %s%s; want %q", step.args, code, out, errs, step.want)
				}
			}
			back.await(t, 1)
			back.end(t)
			if got := back.order["ada"]; !slices.Equal(got, []string{"one"}) {
				t.Errorf("came back: %q", got)
			}
		})
	}
}
