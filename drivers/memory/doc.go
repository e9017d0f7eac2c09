// Package memory is a broker in the process: the reference for what every broker
// is promised to do, and the one to test services against.
//
// # URLs
//
// memory://name names a broker of the process. It lives while connections to it
// are open, and is empty again after the last has closed. Parameters:
//
//	lease=30s            how long a delivery is leased; 0 for no leases
//	backlog-messages=N   how many messages a group keeps before publishers wait
//	backlog-bytes=N      the same in bytes
//	like=kafka           turns capabilities down to those of kafka, rabbitmq,
//	                     gcppubsub, sqs or sqs-fifo
//	without=a,b          turns single capabilities down: groups, queues, broadcast,
//	                     ordered, dead-letter, attempts, publish-delay, retry-delay,
//	                     retry-tail, confirm, backlog
//
// Whoever opens a name that is open must give the same parameters. New makes a
// broker that is not shared by name.
//
// # Semantics
//
// Everything that package pubsub promises, exactly: groups, queues, broadcast,
// order by key, leases and their expiry, attempts (failures, expired leases and lost
// connections count; what was returned unstarted does not), delayed publishing and
// retries, dead letters. An event topic without a group keeps nothing. Dead letters
// have headers that say where, why, when and after how many attempts.
//
// # Sharing
//
// Messages are copied when they are sent and again when they are delivered: nothing
// is shared between publishers and receivers, or between receivers.
//
// # Tests
//
// There is no package-level goroutine, timer or channel, and a name is shared only
// within a bubble of testing/synctest, so that leases, delays and retries of hours
// pass in virtual time. Disconnect and Refuse play a broker that goes away.
package memory
