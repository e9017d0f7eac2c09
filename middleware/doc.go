// Package middleware has what most services put around their handlers: Recover,
// Logging, Timeout, Retry, DeadLetter, Deduplicate, Validate and CorrelationID; and what goes around
// publishing: ValidatePublish and PublishCorrelationID. Each speaks in verdicts (see
// pubsub.Handler) and works the same on every broker.
//
// What has dependencies has a module of its own beneath this folder: throttle, breaker, otel,
// and the stores of Deduplicate.
//
// Order matters; the first that a subscription lists is outermost. A usual order is
//
//	Logging, DeadLetter, Deduplicate, throttle, Retry, breaker, Timeout
//
// so that what is logged is what became of the message, what is dead-lettered has
// been tried again in place, and each try has its own time limit.
package middleware
