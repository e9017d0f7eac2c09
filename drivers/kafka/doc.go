// Package kafka is the driver for Apache Kafka and what speaks its protocol, on sarama.
//
// # URLs
//
// kafka://user:password@host:9092,host:9092 names some brokers of the cluster; the scheme is
// registered when the package is imported. A port that is left out is 9092, but the last
// host needs one if an earlier has. Config has the same settings for code; New makes a
// driver of one. Parameters:
//
//	compression=none       of what is published: none, gzip, snappy, lz4, zstd
//	start=latest           where a new group begins: latest, earliest
//	out-of-range=error     when a group's offset is gone: error, oldest, newest
//	balance=cooperative    how members share partitions: cooperative, sticky, range, roundrobin
//	group-prefix=          goes before the name of each group
//	instance=              static membership
//	delay-from=            longer delays of retries wait on the brokers, such as 1m
//	read-committed=false   hide open and aborted transactions
//	partitions, replicas   of topics that are created; default the brokers' own
//	session-timeout=10s    heartbeat=1s    rebalance-timeout=30s    grace=5s
//	max-wait=100ms         fetch-bytes=1048576    metadata-bytes=4096    message-bytes=1044480
//	timeout=10s            client-id=waybill      rack=
//	tls=true               tls-ca, tls-cert, tls-key (files), tls-server-name
//	sasl=plain             or scram-sha-256, scram-sha-512; OAUTHBEARER by Config.SASL
//
// # Semantics
//
// A topic is a topic; a group is a consumer group; a queue is a topic whose group has the
// queue's name; a broadcast reads all partitions from now on, without a group.
//
// Keys run in parallel within a partition. What is committed is the lowest offset that is
// not done; the metadata of the commit notes which later ones are done and how often the
// others failed, so that a restart or a rebalance repeats what was in flight alone and
// Attempt goes on counting. Where the note would not fit into MetadataBytes, the partition
// waits for its slowest message.
//
// In a rebalance a partition's handlers may go on for Grace; what is done is committed, then
// the partition is given up. Handlers that go on after that have their contexts ended, and
// their messages come again elsewhere.
//
// Publishing is idempotent, with acks of all replicas that are in sync. A partition has one
// request under way; it is sent again until the broker has said what became of it, so
// nothing passes it and nothing is stored twice, unless the brokers forgot the producer.
// Keys choose partitions as the Java client does.
//
// A retry waits in the process, or, from DelayFrom on and where order does not matter, in a
// topic of its group's own, through crashes and restarts.
//
// Delivery.Raw is a *sarama.ConsumerMessage, made for whoever asks; nil once the message is
// settled or taken back.
package kafka
