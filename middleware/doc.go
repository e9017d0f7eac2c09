// Package middleware has what most services put around their handlers: Recover,
// Logging, Timeout, Retry and DeadLetter. Each speaks in verdicts (see
// pubsub.Handler) and works the same on every broker.
//
// Order matters; the first that a subscription lists is outermost. A usual order is
//
//	Logging, DeadLetter, Retry, Timeout
//
// so that what is logged is what became of the message, what is dead-lettered has
// been tried again in place, and each try has its own time limit.
package middleware
