// Package rabbitmq connects Waybill to RabbitMQ 3.10 and later, through amqp091-go.
//
// # URLs
//
//	rabbitmq://user:password@host:5672/vhost
//	rabbitmqs://user:password@host:5671/vhost    over TLS
//
// The default user is guest, the default virtual host "/". Parameters:
//
//	nodes=host:port,...        further nodes of the cluster, tried in turn
//	tls-ca, tls-cert, tls-key  PEM files: who is trusted, and who we are
//	tls-server-name            the name in the server's certificate
//	auth=external              log in by the certificate
//	name=billing               how the broker lists the connections
//	heartbeat=10s              whole seconds
//	timeout=10s                of dialing and logging in
//	queues=classic             the type of queues that are made; default quorum
//	partitions=8               queues of a group of an ordered topic
//	unconfirmed=2000           messages of a publisher on their way
//	sends-per-key=1            where a policy limits the length of ordered topics' queues
//	message-bytes=N            the server's max_message_size
//	consumer-timeout=30m       the server's consumer_timeout
//	broadcast-expiry=5m        how long a broadcast's queue outlives its connection
//	delay-expiry=24h           how long a delay's queue outlives its last use
//
// New takes the same as a Config. Exchange, ExistingQueue, Partitions and QueueType are
// settings of a topic, for pubsub.Settings.
//
// # Semantics
//
// An event topic is a durable exchange, a group a durable quorum queue bound to it, a
// queue topic a queue alone. Messages are persistent and always confirmed; a message for a
// queue topic whose queue is gone is refused. An ordered topic is a direct exchange with 64
// routing keys, to which each group binds its partition queues with a single active
// consumer. Delays are queues whose messages expire and come back. Each connection to the
// broker is two, one for publishing, which the broker may block; nothing that was
// delivered outlives a lost channel.
//
// Attempts count at least what failed, by x-delivery-count. What the engine holds for a
// short retry counts once if the process then crashes.
//
// Delivery.Raw returns a *amqp091.Delivery, which must not be acknowledged; Client.Raw
// the *amqp091.Connection for all but publishing, for channels of one's own.
package rabbitmq
