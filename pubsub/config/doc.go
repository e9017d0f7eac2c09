// Package config reads one YAML file that names brokers, topics and subscriptions
// with their policies, so that a program says names alone:
//
//	cfg, err := config.Load("shop.yaml")
//	client, err := cfg.Client(ctx)
//	orders, err := client.Publisher(ctx, "orders")
//	billing, err := client.Subscriber(ctx, "billing")
//
// The program imports the drivers that its file may name. docs/config.md has every
// key; schema.json beside this package is their JSON Schema, for editors.
//
// # Values
//
// ${NAME} in a value is that environment variable, and it is an error if it is not
// set; ${NAME:-text} is text if it is unset or empty; $${ is a plain ${. Values are
// expanded after the file was parsed: they cannot change its structure.
//
// Secrets are references, file:PATH (relative to the file's folder) or env:NAME, and
// are read when the client connects. They appear in no error of this package and in
// no Plan.
//
// # Faults
//
// Load finds all faults of a file, and Client all promises that its brokers cannot
// keep, before a topic or a subscription is opened. Each is an *Error with file,
// line, column and, for a word that is misspelt, the nearest known one.
//
// # Order of middleware
//
// From the outside: the client's SubscriberDefaults, as code gives them; then the
// file's, which are dead letter, retry in place, timeout; then what Subscriber is
// called with. So tracing and logging, given once to the client, see what became of
// a message, and what is next to the handler is retried and dead-lettered with it.
// On publishing: the client's PublisherDefaults, then what Publisher is called with.
package config
