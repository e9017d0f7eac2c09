// Package program tests an example as what it is: a program that runs on one broker after
// another with nothing but its environment changed.
package program

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/testing/brokers"
)

// asProgram is set where the test binary is to be the program.
const asProgram = "EXAMPLE_AS_PROGRAM"

// Main is a TestMain: the tests, or the program itself where Run started it.
func Main(m *testing.M, main func()) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// Broker is one that a program can be told to run on.
type Broker struct {
	// Name is its driver's.
	Name string
	// URL is where it is; empty for memory.
	URL string
	// Env are the variables that lead to it, and to topics that nobody else has.
	Env []string

	place int // among the real ones
}

var real = []struct {
	name string
	give func(testing.TB, ...brokers.Option) *brokers.Broker
}{
	{"kafka", brokers.Kafka},
	{"rabbitmq", brokers.RabbitMQ},
	{"gcppubsub", brokers.GCPPubSub},
	{"snssqs", brokers.SNSSQS},
}

// On runs a subtest on memory and, but for short tests, one on each real broker that can be
// had.
func On(t *testing.T, test func(t *testing.T, b Broker)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, Broker{Name: "memory", Env: []string{"BROKER=memory"}})
	})
	for i := range real {
		t.Run(real[i].name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() {
				t.Skip("real brokers take a while to start")
			}
			test(t, give(t, i))
		})
	}
}

// Next gives the broker that comes after a real one; skips the test if there is none to have.
func (b Broker) Next(t *testing.T) Broker { return give(t, (b.place+1)%len(real)) }

func give(t *testing.T, i int) Broker {
	name, url := real[i].name, real[i].give(t).URL
	return Broker{Name: name, URL: url, place: i, Env: []string{
		"BROKER=" + name, "WAYBILL_" + strings.ToUpper(name) + "_URL=" + url,
		"ENVIRONMENT=test-" + strings.ToLower(rand.Text()),
	}}
}

// Run runs the program in the repository's root, where its readers do, and returns what it
// printed. The error is an *exec.ExitError if it failed.
func Run(ctx context.Context, b Broker, args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, self, args...) //nolint:gosec // this very program
	cmd.Dir = "../.."
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), b.Env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
