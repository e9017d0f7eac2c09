package driver_test

import (
	"fmt"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func ExampleWake() {
	wake := driver.NewWake()
	wake.Poke() // nobody waits yet
	wake.Poke()
	<-wake
	select {
	case <-wake:
		fmt.Println("woken twice")
	default:
		fmt.Println("woken once")
	}
	// Output: woken once
}
