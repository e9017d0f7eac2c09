// Package gocloud joins Waybill and gocloud.dev/pubsub, both ways.
//
// As a driver it carries Waybill over whatever gocloud.dev reaches, for brokers that have
// no driver of their own here, such as Azure Service Bus and NATS. Kafka, RabbitMQ,
// Google Pub/Sub and SNS/SQS have one, which promises more.
//
// The other way, NewTopic, NewSubscription and URLOpener run a program that is written
// for gocloud.dev on a client of Waybill's, with its drivers and middleware.
//
// # URLs
//
// gocloud://?topic=URL&group=URL names a broker by gocloud.dev's own URLs. Import the
// package of their scheme beside this one. Parameters:
//
//	topic=azuresb://{topic}    where messages are published
//	group=azuresb://{topic}?subscription={group}
//	                           the subscription of a group
//	queue=URL                  the subscription of a queue
//	broadcast=URL              a subscription that gets a copy of its own
//	hold=4m                    how long a message may be unsettled: the broker's lease
//	message-bytes=262144       the largest message
//	key-metadata=name          the metadata that carries the key
//	at-most-once=true          takes subscriptions that cannot give a message back
//	name=text                  the broker's name, for people
//
// {topic} and {group} stand for the names, escaped. A & or # in a URL is written %26 or
// %23. In code, New takes a Config, with URLs or a Broker of your own.
//
// # Topology
//
// gocloud.dev makes nothing and cannot look: with URLs, open with
// pubsub.Topology(pubsub.Assume). A Broker of your own may do more.
//
// # Semantics
//
// No order by key, no delays, no leases that are extended, no count of attempts but the
// process's own. Failed messages are held here, for a minute at most or Hold. gocloud.dev
// fetches ahead by itself, beyond InFlight: up to two seconds' worth, 3,000 messages at
// most. It confirms no settlement.
//
// Delivery.Raw is a *pubsub.Message of gocloud.dev's; Client.Raw gives the Broker.
//
// docs/gocloud.md has the rest.
package gocloud
