package config

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// shop is testdata/shop.yaml on the memory driver, like another broker.
func shop(t *testing.T, name, like string) *Config {
	t.Helper()
	c, err := Load("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b := c.doc.Brokers["main"]
	b.URL, b.Params = "memory://"+name, map[string]string{"like": like}
	if like == "" {
		b.Params = nil
	}
	c.doc.Brokers["main"] = b
	return c
}

// The plans of one file on all kinds of broker. On sqs it cannot be carried out.
func TestPlans(t *testing.T) {
	t.Parallel()
	for _, like := range []string{"", "kafka", "rabbitmq", "gcppubsub", "sqs", "sqs-fifo"} {
		name := "plan-" + like
		plan, err := shop(t, name, like).Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if (plan.Err() == nil) != (like != "sqs") {
			t.Errorf("%s: %v", like, plan.Err())
		}
		if err := plan.Err(); err != nil && pubsub.CodeOf(err) != pubsub.CodeUnsupported {
			t.Errorf("%s: code %v", like, pubsub.CodeOf(err))
		}
		compare(t, filepath.Join("testdata", "plan", name+".txt"), []byte(plan.String()))
		text, err := json.MarshalIndent(plan, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		compare(t, filepath.Join("testdata", "plan", name+".json"), append(text, '\n'))
	}
}

// Where broadcasts' retries wait here and others' on the broker, a plan says so of each.
func TestRetriesOfABroadcastInPlans(t *testing.T) {
	t.Parallel()
	caps := pubsub.Capabilities{Groups: true, Broadcast: true, RetryDelay: driver.Unlimited, Hold: driver.Unlimited, BroadcastHolds: true}
	for broadcast, want := range map[bool]pubsub.Means{true: pubsub.Engine, false: pubsub.Native} {
		promises := meetsSubscription("s", subscription{Broadcast: broadcast}, topic{}, caps, &faults{})
		i := slices.IndexFunc(promises, func(p pubsub.Promise) bool { return p.Name == "delayed retry" })
		if i < 0 || promises[i].Means != want {
			t.Errorf("broadcast %v: promises %v, want delayed retry %v", broadcast, promises, want)
		}
	}
}

// What exists is kept, what differs is a problem, what may not be made is one too.
func TestPlanOfWhatExists(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	watch, err := pubsub.Open(ctx, "memory://exists") // so that the broker stays
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close(ctx)
	actions := func(c *Config) string {
		plan, err := c.Plan(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, i := range append(plan.Brokers[0].Topics, plan.Brokers[0].Subscriptions...) {
			list = append(list, i.Name+" "+string(i.Action))
		}
		return strings.Join(list, ", ")
	}
	c := shop(t, "exists", "")
	declare := "orders declare, orders-dead declare, images declare, billing declare, audit declare, live declare, resize declare"
	if got := actions(c); got != declare {
		t.Errorf("at first: %s", got)
	}
	if got := actions(c); got != declare {
		t.Errorf("planning declared something: %s", got)
	}
	if _, err := c.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := actions(c), strings.ReplaceAll(declare, "declare", "keep"); got != want {
		t.Errorf("applied: %s", got)
	}
	orders, images := c.doc.Topics["orders"], c.doc.Topics["images"]
	orders.Ordered, images.Topology, images.Name = false, "verify", "elsewhere"
	c.doc.Topics["orders"], c.doc.Topics["images"] = orders, images
	dead := c.doc.Topics["orders-dead"]
	dead.Topology = "assume"
	c.doc.Topics["orders-dead"] = dead
	want := "orders fail, orders-dead trust, images fail, billing fail, audit fail, live fail, resize fail"
	if got := actions(c); got != want {
		t.Errorf("changed: %s", got)
	}
	plan, err := c.Apply(ctx)
	if err == nil || plan == nil {
		t.Fatalf("applied a plan that fails: %v", err)
	}
	for _, want := range []string{
		`testdata/shop.yaml:20:3: topics.orders: open publisher orders: topic "orders": ordered is true, not false`,
		`topics.images: open publisher elsewhere: topic "elsewhere" does not exist`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

func TestPlanOfABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	c := shop(t, "away", "kafka")
	other, err := pubsub.Open(t.Context(), "memory://away?like=sqs") // the same name, other parameters
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	if plan, err := c.Plan(t.Context()); err == nil || plan != nil || pubsub.CodeOf(err) != pubsub.CodeConflict {
		t.Errorf("got %v, %v", plan, err)
	}
}
