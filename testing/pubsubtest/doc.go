// Package pubsubtest proves drivers, and helps users test their services.
//
// # The conformance kit
//
// Run tests a driver with one call:
//
//	func TestConformance(t *testing.T) {
//		pubsubtest.Run(t, pubsubtest.Harness{
//			Driver: func(testing.TB) driver.Driver { return mydriver.New(address) },
//		})
//	}
//
// Each case says in a sentence what it proves and why users care, and prints it when
// it fails. What a broker cannot do is skipped on the word of its Capabilities
// alone; claims are checked both ways, so that a driver that claims too little
// fails too where that shows. A driver is done when it passes against the real
// broker, or the vendor's own emulator, with the race detector.
//
// # For users
//
// Handle runs a handler on a message and tells its verdict. Recorder stands in for
// a publisher. Tracker waits until what was published has been settled.
package pubsubtest
