// Package brokers gives tests, benchmarks and demonstrations real brokers: RabbitMQ, Apache
// Kafka, Google's Pub/Sub emulator, and ministack for Amazon's SNS and SQS.
//
//	b := brokers.RabbitMQ(t, brokers.Version("4.3"))
//	client, err := pubsub.Open(ctx, b.URL)
//
// # Where a broker comes from
//
// First from the environment: WAYBILL_RABBITMQ_URL, WAYBILL_KAFKA_URL, WAYBILL_GCPPUBSUB_URL,
// WAYBILL_SNSSQS_URL; for a test that asks for a version, WAYBILL_RABBITMQ_4_3_URL and so on.
// compose.yaml starts all four for those who have Docker.
//
// Else it is started, on Linux, from what the machine has: on 127.0.0.1, on free ports, with
// its state in a temporary folder. The brokers command fetches what is missing:
//
//	go run ./testing/brokers/cmd/brokers install rabbitmq rabbitmq@4.3 kafka snssqs
//
// Else the test is skipped with the reason, or fails if WAYBILL_REQUIRE_BROKERS is 1. Under
// `brokers run NAMES... -- go test ./...` the skipped tests are named again at the end.
//
// # Sharing
//
// All test binaries of one `go test` share one instance of each broker and version: choose
// names of topics and groups that nobody else has, and leave nothing behind. A test that
// stops its broker, kills it or raises an alarm asks for one of its own with [Private], which
// ends with the test. [Broker.Admin] makes users, virtual hosts and the like on both.
// [Broker.TLS] and [Broker.SASL] are how to reach one securely; the certificates are of its own authority.
//
// # Faults
//
// A private instance can be stopped, killed, paused and started again, node by node where
// [Nodes] made it a cluster; what it stored and its ports stay. RabbitMQ and Kafka store what
// they confirmed; Google's emulator forgets everything when it ends, ministack all since its
// last stop in good order. A [Proxy] cuts and slows the network before any address.
//
// # Whose end is whose
//
// Every instance has a keeper, a process beside it that ends it with its owner: the test
// process for a private instance, the `go test` or `brokers run` above it for a shared one.
// Nothing outlives its owner, even one that was killed; where the keeper itself is killed, the
// kernel ends the brokers.
//
// The keeper is this very program, started again: importing this package makes that possible.
// It is for tests and tools, not for services.
package brokers
