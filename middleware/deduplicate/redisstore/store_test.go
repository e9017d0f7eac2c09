package redisstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/middleware/deduplicate/redisstore"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/deduplicationtest"
)

func open(t *testing.T, prefix string) (*redisstore.Store, *miniredis.Miniredis) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	store, err := redisstore.New(client, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return store, server
}

func TestRedis(t *testing.T) {
	t.Parallel()
	store, server := open(t, "")
	deduplicationtest.Run(t, store, server.FastForward)
	deduplicationtest.RunEnded(t, store)
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	store, server := open(t, "mine:")
	if err := store.Mark(t.Context(), "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	if !server.Exists("mine:a") || server.TTL("mine:a") != time.Hour {
		t.Errorf("keys %v", server.Keys())
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	if _, err := redisstore.New(nil, ""); pubsub.CodeOf(err) != pubsub.CodeInvalid {
		t.Errorf("no client: %v", err)
	}
	store, server := open(t, "")
	server.Close()
	if _, err := store.Claim(t.Context(), "a", "o", time.Minute); pubsub.CodeOf(err) != pubsub.CodeUnavailable {
		t.Errorf("no server: %v", err)
	}
}

func Example() {
	ctx := context.Background()
	server, err := miniredis.Run() // for the example; yours has an address
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
	store, _ := redisstore.New(client, "")
	handler := middleware.Deduplicate(store, middleware.DeduplicatePolicy{})(func(_ context.Context, d *pubsub.Delivery) error {
		fmt.Println(d.ID)
		return nil
	})
	for _, id := range []string{"order-7", "order-7", "order-8"} {
		_ = handler(ctx, &pubsub.Delivery{Topic: "orders", Group: "billing", Message: pubsub.Message{ID: id}})
	}
	// Output:
	// order-7
	// order-8
}
