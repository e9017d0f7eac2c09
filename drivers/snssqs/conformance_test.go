package snssqs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-go/waybill/internal/matrix"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
	"github.com/waybill-go/waybill/testing/pubsubtest"
)

// start returns the URL of an emulator. Its polls wait for a second: none is cut, and
// tests close soon.
func start(t testing.TB) string {
	t.Helper()
	return brokers.SNSSQS(t).URL
}

func drive(t testing.TB, url string) driver.Driver {
	t.Helper()
	d, err := driver.FromURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) {
	t.Parallel()
	url := start(t)
	pubsubtest.Run(t, pubsubtest.Harness{
		Driver:   func(t testing.TB) driver.Driver { return drive(t, url) },
		Quiet:    500 * time.Millisecond,
		Lease:    3 * time.Second,
		Mends:    true,
		Parallel: true,
	})
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	// The emulator's SNS takes 256 KiB alone, Amazon's as much as SQS.
	conn, err := drive(t, strings.Replace(start(t), "&message-bytes=262144", "", 1)).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	matrix.Check(t, "SNS/SQS", conn.Capabilities())
}
