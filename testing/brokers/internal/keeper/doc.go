// Package keeper keeps an instance of a broker running for as long as its owner
// lives, and not a moment longer.
//
// The keeper is a process of its own: the program that asks for a broker starts
// itself again, and [Main], called at the start of every program that imports this
// package's users, takes over. The keeper starts the broker's processes, answers
// requests (stop, start, kill, pause, run the admin tool) on a socket in the
// instance's folder, and watches its owner: the test process itself for a private
// instance, the `go test` that runs many test processes for a shared one.
//
// When the owner is gone, however it died, the keeper kills what it started. When
// the keeper itself is killed, the kernel does: each process has asked for a signal
// at the death of the thread that started it, and none of them leaves children
// behind that live without it.
package keeper
