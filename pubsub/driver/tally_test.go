package driver_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func ExampleTally() {
	var returned driver.Tally // of a broker that counts what was never started
	returned.Add("order-1", 1)
	returned.Add("order-1", 1)
	received := 3 // says the broker
	fmt.Println("attempt", received-returned.Of("order-1"))
	returned.Set("order-1", 0) // settled
	// Output: attempt 1
}

func TestTallyForgetsTheOldest(t *testing.T) {
	t.Parallel()
	const many = 300_000
	var all driver.Tally
	for i := range many {
		all.Add(strconv.Itoa(i), 1)
		all.Add("busy", 1)
	}
	remembered := 0
	for i := range many {
		remembered += all.Of(strconv.Itoa(i))
	}
	if remembered < 50_000 || remembered > 100_000 || all.Of("0") != 0 || all.Of(strconv.Itoa(many-1)) != 1 {
		t.Errorf("%d of %d are remembered", remembered, many)
	}
	if n := all.Of("busy"); n != many {
		t.Errorf("what is in use was forgotten: %d", n)
	}
	all.Set("busy", 0)
	if n := all.Of("busy"); n != 0 {
		t.Errorf("got %d of what was forgotten", n)
	}
}
