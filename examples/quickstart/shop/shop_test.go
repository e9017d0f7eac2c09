package shop_test

import (
	"strings"
	"testing"

	_ "github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/examples/quickstart/shop"
)

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := shop.Run(t.Context(), &out, "memory://shop-test", 100); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"kept for each key", "2.png is scaled at attempt 3", `a message from "images" after 1 attempt`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, &out)
		}
	}
}

func TestRunRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url    string
		orders int
		want   string
	}{
		{"memory://shop-test", 0, "want 1 or more"},
		{"memry://x", 1, `did you mean "memory"`},
		{"memory://x?laese=1s", 1, `did you mean "lease"`},
		{"memory://x?without=ordered", 1, "cannot keep the order"},
	} {
		err := shop.Run(t.Context(), &strings.Builder{}, c.url, c.orders)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %d orders: %v; want %q", c.url, c.orders, err, c.want)
		}
	}
}
