// Package supply fetches brokers that the machine does not have, into the user's cache
// folder or, where that is how the system does it, by its package manager.
package supply
