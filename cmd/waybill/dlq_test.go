package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// openBilling opens what a file says of billing.
func openBilling(t *testing.T, file string) (*config.Client, *pubsub.Subscription) {
	t.Helper()
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	client, err := cfg.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	billing, err := client.Subscriber(t.Context(), "billing")
	if err != nil {
		t.Fatal(err)
	}
	return client, billing
}

// poison has messages of orders fail in billing, for good, until n are dead letters.
func poison(t *testing.T, file string, n int) {
	t.Helper()
	client, billing := openBilling(t, file)
	var mu sync.Mutex
	died := map[string]bool{}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	err := client.Serve(ctx, pubsub.Handle(billing, func(_ context.Context, d *pubsub.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if died[d.Key+string(d.Body)] = true; len(died) == n {
			cancel()
		}
		return pubsub.Permanent(errors.New("no account for " + d.Key))
	}))
	if err != nil || len(died) != n {
		t.Fatalf("%d dead letters, error %v", len(died), err)
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	file := write(t, "")
	command(t, "", "apply", "-f", file)
	var in strings.Builder
	for n := range 6 {
		fmt.Fprintf(&in, `{"id":"id-%d","key":%q,"headers":{"n":"%d"},"body":"body %d"}`+"\n", n, []string{"ada", "bob"}[n%2], n, n)
	}
	command(t, in.String(), "pub", "-f", file, "orders", "--format", "json")
	poison(t, file, 6)
	for _, step := range []struct {
		args string
		code int
		want string
	}{
		{"dlq list", 0, "dead   6        orders  billing  3      "},
		{"dlq list --reason bob --messages 6", 0, "no account for bob"},
		{"dlq list dead -o json", 0, `"reason": "no account for ada"`},
		{"dlq show dead --key ada", 0, "id         id-0\nkey        ada\nsource     orders\ngroup      billing\nreason     no account for ada\ndied       "},
		{"dlq show dead id-3", 0, "attempts   1\nheader     n: 3\nbody       body 3\n"},
		{"dlq show dead --key bob --count 2 -o json", 0, `{"id":"id-1","key":"bob","headers":{`},
		{"dlq show dead id-7", 1, ""},
		{"dlq redrive dead --dry-run --key ada --limit 2", 0, "2 would be brought back"},
		{"dlq redrive dead --key ada --header n=2", 0, "1 redriven, 5 not picked\n"},
		{"dlq redrive dead --to nothing", 2, ""},
		{"dlq redrive dead --limit 2 -o json", 0, `"redriven": 2`},
		{"sub billing --count 3", 0, "body 2\n"},
		{"dlq redrive dead", 0, "3 redriven\n"},
		{"sub billing --count 3", 0, "body 5\n"},
		{"dlq list", 0, "dead   0        -       -      0      -       -       -\n"},
	} {
		list := append(strings.Fields(step.args), "-f", file)
		if strings.HasPrefix(step.args, "dlq") {
			list = append(list, "--quiet", "400ms")
		}
		code, out, errs := command(t, "", list...)
		if code != step.code || !strings.Contains(out, step.want) {
			t.Fatalf("%q: exit %d, got\n%s%s; want %q", step.args, code, out, errs, step.want)
		}
		if strings.HasSuffix(step.args, "json") && !strings.Contains(step.args, "show") && !json.Valid([]byte(out)) {
			t.Errorf("%q: not JSON: %s", step.args, out)
		}
	}
	if code, out, _ := command(t, "", "__complete", "dlq", "redrive", "-f", file, ""); code != 0 || !strings.Contains(out, "dead") || strings.Contains(out, "orders") {
		t.Errorf("completion: exit %d, got %s", code, out)
	}
}
