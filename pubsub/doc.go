// Package pubsub publishes and receives messages without knowing which broker
// carries them.
//
// A Client is a connection to one broker. Open makes one from a URL, whose scheme
// chooses the driver; New from a driver's own configuration. Import the package of
// each driver that URLs may name, such as drivers/memory.
//
// # Topics, groups and queues
//
// A topic is a name that messages are published to. A group is a named reader of
// a topic: every group gets every message, and the members of one group, which are
// the subscriptions with its name, share them. A topic of kind Queue has one group:
// competing workers, each message handled once. A subscription that says Broadcast
// shares with nobody: it gets its own copy of everything while it receives.
//
// # Publishing
//
// Published means stored: Publish returns nil once the broker has confirmed every
// message. An error says, for each message that failed, whether it was not sent or
// is perhaps stored. PublishAsync pipelines. While the broker is away messages
// wait, within their contexts and PublishLimit.
//
// # Receiving
//
// Receive calls a handler for each delivery, and the handler's error is its
// verdict (see Handler). A message is settled after its verdict alone, so that a
// crash leads to redelivery and never to loss: handlers see a message at least once.
// Leases are extended while handlers run. When Receive's context ends it drains.
//
// On a topic that is Ordered, messages with the same key are handled one at a time
// in publish order, while different keys run in parallel; a message that waits
// for its retry holds back its own key alone.
//
// # Limits
//
// PublishLimit bounds what was taken and not confirmed, InFlight what was fetched
// and not settled. A slow broker slows publishers, a slow handler slows intake;
// neither grows memory.
//
// # Errors
//
// Every error has a Code (CodeOf) that says what to do about it, and its causes,
// down to the broker client's own, are in its chain for errors.Is and errors.As.
//
// # Files
//
// The life of a message, file by file: topic, batcher, courier, driver; then driver,
// intake, dispatcher, handler, ruling, settler.
package pubsub
