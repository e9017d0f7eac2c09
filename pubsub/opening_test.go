package pubsub_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// opened opens a publisher and a subscription.
var opened = map[string]func(context.Context, *pubsub.Client) error{
	"topic": func(ctx context.Context, c *pubsub.Client) error {
		_, err := c.Publisher(ctx, "t")
		return err
	},
	"group": func(ctx context.Context, c *pubsub.Client) error {
		_, err := c.Subscriber(ctx, "t", pubsub.Group("g"), pubsub.DropPermanent())
		return err
	},
}

// Many services that start together are throttled; none should end because of that.
func TestOpeningAsksABusyBrokerAgain(t *testing.T) {
	busy := driver.Errorf(driver.CodeExhausted, "throttled")
	denied := driver.Errorf(driver.CodePermissionDenied, "denied")
	for what, open := range opened {
		for name, c := range map[string]struct {
			answers []error // the last one for ever
			asked   int
			want    error
		}{
			"busy for a while": {[]error{busy, busy, nil}, 3, nil},
			"busy for long":    {[]error{busy}, 4, busy},
			"denied":           {[]error{denied}, 1, denied},
			"busy, and denied": {[]error{busy, denied}, 2, denied},
		} {
			t.Run(what+", "+name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := newScripted(driver.Capabilities{})
					asked := 0
					b.opens = func(string) error {
						asked++
						return c.answers[min(asked, len(c.answers))-1]
					}
					client := b.client(t)
					began := time.Now()
					if err := open(t.Context(), client); !errors.Is(err, c.want) {
						t.Errorf("opening: %v; want %v", err, c.want)
					}
					if asked != c.asked || c.asked > 1 && time.Since(began) == 0 {
						t.Errorf("asked %d times within %v, want %d, with pauses", asked, time.Since(began), c.asked)
					}
					closeAll(t, client)
				})
			})
		}
	}
}

// What is opened while its connection dies is opened on the next.
func TestOpeningGoesOnOnTheNextConnection(t *testing.T) {
	for what, open := range opened {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{})
				b.opens = func(string) error {
					b.opens = nil
					b.conn.die(errBoom)
					return driver.Errorf(driver.CodeUnavailable, "connection lost")
				}
				client := b.client(t)
				if err := open(t.Context(), client); err != nil {
					t.Error(err)
				}
				closeAll(t, client)
			})
		})
	}
}

// The error of an opening that was given up says what was waited for.
func TestOpeningHeedsItsContext(t *testing.T) {
	busy := driver.Errorf(driver.CodeExhausted, "throttled")
	for what, open := range opened {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newScripted(driver.Capabilities{})
				b.opens = func(string) error { return busy }
				client := b.client(t, pubsub.ReconnectBackoff(pubsub.Backoff{Min: time.Hour, Max: time.Hour}))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := open(ctx, client)
				if pubsub.CodeOf(err) != pubsub.CodeCanceled || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, busy) {
					t.Errorf("opening: %v; want that it was canceled, and why it waited", err)
				}
				closeAll(t, client)
			})
		})
	}
}
