// Package snssqs carries Waybill over Amazon SNS and SQS.
//
// An event topic is an SNS topic. A group of it is an SQS queue that is subscribed
// with raw delivery, a queue topic is an SQS queue alone, and a broadcast
// subscription is a temporary queue. An ordered topic is FIFO throughout: its
// names end in .fifo, and the key is the message group.
//
// # URLs
//
// snssqs://REGION names the broker; snssqs:// takes the region from where Amazon's
// tools take it, as it does credentials. Parameters:
//
//	endpoint=http://…          another endpoint, such as an emulator's
//	profile=name               of the shared configuration files
//	access-key, secret-key,    credentials; only for emulators, whose credentials
//	session-token              are no secrets
//	account=123456789012       the account; else the credentials or STS tell it
//	prefix=staging-            begins the names of all topics and queues
//	wait=20s                   how long a poll waits; at most 20s
//	poll-grace=2s              how long polls may go on when a subscription closes
//	parallel=32                requests of a kind at a time, a topic or subscription
//	message-bytes=1048576      the largest message
//	retention=96h              how long queues that are created keep messages
//	kms-key=alias/mine         encrypts topics and queues that are created
//	fair-queues=true           standard queues get the key as message group
//	content-deduplication=true FIFO drops equal bodies instead of equal IDs
//
// In code, New takes a Config with the same settings, and pubsub.Settings takes a
// Settings for one topic or subscription.
//
// # Semantics
//
// A delivery is leased by its visibility timeout, in whole seconds, which the engine
// extends. Failed messages come back by visibility, after up to 12 hours from
// their receipt. Attempts are ApproximateReceiveCount, less the receipts that this
// process returned unstarted, plus the attempts that it made in between.
//
// Messages are sent, deleted and extended ten at a time; a poll asks for ten.
// More polls run at once while they come back full; an idle subscription has one
// long poll. Closing gives polls a moment to come back, and cuts those that do not: see
// Config.PollGrace.
//
// Delivery.Raw is a types.Message of Amazon's sqs package; Client.Raw gives a *Client.
//
// docs/snssqs.md has the rest: names, permissions, costs, limits.
package snssqs
