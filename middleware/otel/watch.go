package otel

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// StateKey is the attribute of waybill.lag: "ready" to be delivered, or "unsettled".
const StateKey = attribute.Key("waybill.state")

// backlogTimeout bounds a broker's answer about a backlog.
const backlogTimeout = 5 * time.Second

// Watch has what is in flight on a client, and its groups' lag, measured whenever metrics are
// collected, until stop is called. The lag is asked of the broker then, for each of the
// client's groups and queues; a broker that does not tell it, or does not answer within five
// seconds, leaves a gap.
func (t *Telemetry) Watch(client *pubsub.Client) (stop func() error, err error) {
	if client == nil {
		return nil, driver.Errorf(pubsub.CodeInvalid, "otel: client is nil")
	}
	registration, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		t.observe(ctx, client, o)
		return nil
	}, t.instruments.inFlight, t.instruments.lag)
	if err != nil {
		return nil, driver.Wrap(pubsub.CodeInvalid, "otel: the meter refuses a callback", err)
	}
	return registration.Unregister, nil
}

func (t *Telemetry) observe(ctx context.Context, client *pubsub.Client, o metric.Observer) {
	ctx, cancel := context.WithTimeout(ctx, backlogTimeout)
	defer cancel()
	lags := client.Capabilities().Backlog
	flights := map[seriesKey]int64{} // several members of a group may be here
	asked := map[seriesKey]*pubsub.Subscription{}
	for _, s := range client.Subscriptions() {
		k := seriesKey{side: consuming, topic: s.Topic(), group: s.Group()}
		flights[k] += int64(s.Flights().Messages)
		asked[k] = s
	}
	for k, n := range flights {
		o.ObserveInt64(t.instruments.inFlight, n, t.series(k).observe...)
	}
	if !lags {
		return
	}
	var wait sync.WaitGroup
	for k, s := range asked {
		wait.Go(func() {
			b, err := s.Backlog(ctx)
			if err != nil {
				return
			}
			k.state = "ready"
			o.ObserveInt64(t.instruments.lag, b.Ready, t.series(k).observe...)
			if b.Unsettled >= 0 {
				k.state = "unsettled"
				o.ObserveInt64(t.instruments.lag, b.Unsettled, t.series(k).observe...)
			}
		})
	}
	wait.Wait()
}
