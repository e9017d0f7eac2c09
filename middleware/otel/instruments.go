package otel

import (
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
)

// instruments are what is measured with.
type instruments struct {
	operation, process, critical  metric.Float64Histogram
	sent, consumed                metric.Int64Counter
	retries, deadLetters, dropped metric.Int64Counter
	postponed                     metric.Int64Counter
	lost, stalls, unreached       metric.Int64Counter
	inFlight, lag                 metric.Int64ObservableGauge
}

// durationBuckets are the convention's.
var durationBuckets = metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10)

// criticalBuckets go on to a day: a message may wait for its group for long.
var criticalBuckets = metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)

func newInstruments(m metric.Meter) (i instruments, err error) {
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	operation, e := messagingconv.NewClientOperationDuration(m, durationBuckets)
	keep(e)
	process, e := messagingconv.NewProcessDuration(m, durationBuckets)
	keep(e)
	sent, e := messagingconv.NewClientSentMessages(m)
	keep(e)
	consumed, e := messagingconv.NewClientConsumedMessages(m)
	keep(e)
	i.operation, i.process, i.sent, i.consumed = operation.Inst(), process.Inst(), sent.Inst(), consumed.Inst()
	i.critical, e = m.Float64Histogram("waybill.critical_time", metric.WithUnit("s"), criticalBuckets,
		metric.WithDescription("Time from a message's publishing to its settlement."))
	keep(e)
	counter := func(name, unit, description string) metric.Int64Counter {
		c, e := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		keep(e)
		return c
	}
	i.retries = counter("waybill.retries", "{message}", "Attempts that ask for another.")
	i.postponed = counter("waybill.postponed", "{message}", "Deliveries that were put off without an attempt.")
	i.deadLetters = counter("waybill.dead_letters", "{message}", "Messages that were dead-lettered.")
	i.dropped = counter("waybill.dropped", "{message}", "Messages that handlers dropped.")
	i.lost = counter("waybill.lost", "{message}", "Leases that were lost.")
	i.stalls = counter("waybill.stalls", "{stall}", "Times that a subscription could not go on before a retry was due.")
	i.unreached = counter("waybill.connection.errors", "{error}", "Failed attempts to reach the broker, and losses of it.")
	i.inFlight, e = m.Int64ObservableGauge("waybill.in_flight", metric.WithUnit("{message}"),
		metric.WithDescription("Messages that were fetched and are not settled."))
	keep(e)
	i.lag, e = m.Int64ObservableGauge("waybill.lag", metric.WithUnit("{message}"),
		metric.WithDescription("Messages that wait for the group on the broker."))
	keep(e)
	return i, err
}
