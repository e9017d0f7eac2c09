// Package otel traces and measures a client with OpenTelemetry, by its semantic
// conventions for messaging: version 1.43.0 of them, the newest that OpenTelemetry for Go
// has; 1.44.0 changes nothing that is emitted here.
//
//	telemetry, err := otel.New(otel.Options{})
//	client, err := pubsub.Open(ctx, url, telemetry.ClientOptions()...)
//	stop, err := telemetry.Watch(client) // in flight, and lag
//
// # Spans
//
// "publish TOPIC", of kind producer, from Publish to the confirmation. Its context goes with
// the message in the W3C headers traceparent, tracestate and baggage: it is the message's
// creation context. A message that has one already, such as one that is passed on or a
// dead letter, keeps it; the span is then of kind client and links to it.
//
// "process TOPIC", of kind consumer, for each attempt. It links to the creation context,
// and is its child, so that the publisher's trace goes on, unless the handler's context has a
// span already, whose child it is then (Options.Parent). It covers the middleware inside of
// it; ClientOptions puts it outside of all others.
//
// "ack TOPIC", "retry TOPIC", "return TOPIC" and "dead TOPIC", of kind client, for each
// settlement that went to the broker, as children of the attempt's process span.
//
// A batch handler's context belongs to no message, and has no span.
//
// # Metrics
//
// By the convention: messaging.client.operation.duration (publishing and settling),
// messaging.client.sent.messages, messaging.client.consumed.messages (attempts) and
// messaging.process.duration. Beyond it:
//
//	waybill.retries            {message}  attempts that ask for another
//	waybill.postponed          {message}  deliveries that were put off without an attempt
//	waybill.dead_letters       {message}  messages that were dead-lettered, here or by the broker
//	waybill.dropped            {message}  messages that were settled without success
//	waybill.critical_time      s          from publishing to the settlement, both clocks being right
//	waybill.lost               {message}  leases that were lost
//	waybill.stalls             {stall}    times that a subscription could not go on before a retry was due
//	waybill.connection.errors  {error}    failed attempts to reach the broker, and losses of it
//	waybill.in_flight          {message}  fetched and not settled (Watch)
//	waybill.lag                {message}  waiting on the broker, by waybill.state: ready or unsettled (Watch)
//
// # Errors
//
// error.type is the code of the error (pubsub.Code) with underscores, "panic", or
// "timeout"; a handler's plain error is "failed". What was dead-lettered is an error of its
// attempt, though the message was acknowledged.
//
// grafana and prometheus, beside this package, hold a dashboard and alert rules for the names
// that these metrics have in Prometheus.
package otel
