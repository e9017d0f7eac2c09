// Package driver is the contract between Waybill's engine, package pubsub, and
// a message broker. Only authors of drivers import it; users import pubsub.
//
// The engine is thick and a driver is thin. The engine batches, pipelines,
// bounds, retries, reconnects, orders by key, keeps leases and drains. A driver
// translates, and it tells the truth: what its broker can do (Capabilities),
// what became of each message it was given (Fate), and what became of each
// settlement (Outcome). It never retries and never backs off.
//
// # Incarnations
//
// A Conn, a Topic and a Session live until they fail or are closed; after that
// they are dead and stay dead. The engine opens the next one, with backoff. A
// client library beneath may mend its connection by itself only where nothing
// that was handed out dies by it: where a delivery's token is bound to a
// connection or channel, the loss of that channel is the end of the Session.
//
// # Obligations that hold everywhere
//
//   - A context bounds how long a call may wait, never what it means: when a
//     context ends, the call returns soon with the context's cause.
//   - A method may be called concurrently only where its comment says so.
//   - What the engine passes in belongs to the engine. A driver may read a
//     message until it has told the message's fate, and copies what it keeps
//     beyond that. It never writes to it.
//   - What a driver hands out belongs to the receiver: no two deliveries share
//     bytes or maps, with one another or with anything the driver keeps.
//   - Errors carry a Code (see Error), so that the engine can tell what heals
//     by waiting from what does not. They hold no credentials and no bodies.
//   - Whoever starts a goroutine ends it: after Close has returned, none is left.
//
// docs/drivers.md walks through writing a driver; testing/pubsubtest proves one.
package driver
