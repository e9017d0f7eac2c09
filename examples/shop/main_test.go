package main

import (
	"os"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// TestShop plays the shop on every broker. It checks its counts and its order itself.
func TestShop(t *testing.T) {
	t.Parallel()
	program.On(t, func(t *testing.T, b program.Broker) {
		out, err := program.Run(t.Context(), b, "-config", "examples/shop/"+b.Name+".yaml", "-orders", "200")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Log("\n" + out)
		for _, want := range []string{"order 12 of bob, attempt 2", "given up at attempt 4: out of memory"} {
			if !strings.Contains(out, want) {
				t.Errorf("it does not say %q", want)
			}
		}
	})
}

// TestOneLine holds the configuration files together.
func TestOneLine(t *testing.T) {
	t.Parallel()
	lines := func(broker string) []string {
		text, err := os.ReadFile(broker + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(text), "\n")
	}
	memory := lines("memory")
	for _, broker := range []string{"kafka", "rabbitmq", "gcppubsub", "snssqs"} {
		other := lines(broker)
		differ := 0
		for i := range min(len(memory), len(other)) {
			if memory[i] != other[i] {
				differ++
			}
		}
		if differ != 1 || len(memory) != len(other) {
			t.Errorf("%s.yaml differs from memory.yaml in %d lines, and in length by %d", broker, differ, len(other)-len(memory))
		}
	}
}

// TestItFails: a shop that cannot open exits with 1, and says why.
func TestItFails(t *testing.T) {
	t.Parallel()
	out, err := program.Run(t.Context(), program.Broker{}, "-config", "examples/shop/closed.yaml")
	if err == nil || err.Error() != "exit status 1" || !strings.Contains(out, "closed.yaml") {
		t.Errorf("%v: %s", err, out)
	}
}
