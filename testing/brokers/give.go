package brokers

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// RabbitMQ gives a test a RabbitMQ, skips the test if there is none to have, or fails it if
// WAYBILL_REQUIRE_BROKERS is 1.
func RabbitMQ(t testing.TB, options ...Option) *Broker {
	t.Helper()
	return give(t, recipe.RabbitMQ, options)
}

// Kafka gives a test a Kafka, as RabbitMQ does.
func Kafka(t testing.TB, options ...Option) *Broker {
	t.Helper()
	return give(t, recipe.Kafka, options)
}

// GCPPubSub gives a test Google's Pub/Sub emulator, as RabbitMQ does. The emulator keeps
// everything in memory: stopping it loses all.
func GCPPubSub(t testing.TB, options ...Option) *Broker {
	t.Helper()
	return give(t, recipe.GCPPubSub, options)
}

// SNSSQS gives a test an emulator of Amazon's SNS and SQS, as RabbitMQ does.
func SNSSQS(t testing.TB, options ...Option) *Broker {
	t.Helper()
	return give(t, recipe.SNSSQS, options)
}

// testTimeout is how long a test waits for a broker, others' turns included.
const testTimeout = 3 * time.Minute

func give(t testing.TB, kind recipe.Kind, options []Option) *Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	b, err := get(ctx, recipe.Want{Kind: kind}, options)
	var none *missing
	switch {
	case errors.As(err, &none) && os.Getenv(requireVariable) != "1":
		skipped(t.Name(), err)
		t.Skipf("%v", err)
	case errors.As(err, &none):
		t.Fatalf("%v (%s=1 makes that a failure)", err, requireVariable)
	case err != nil:
		t.Fatal(err)
	}
	if b.private {
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return b
}

const requireVariable = "WAYBILL_REQUIRE_BROKERS"
