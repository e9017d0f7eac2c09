package driver_test

import (
	"errors"
	"fmt"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func ExampleLife() {
	type conn struct{ driver.Life }
	type topic struct{ driver.Life }

	c := conn{driver.NewLife(nil)}
	first, second := topic{driver.NewLife(&c.Life)}, topic{driver.NewLife(&c.Life)}
	first.End(errors.New("channel closed"))
	fmt.Println(first.Err(), "-", second.Err())
	c.End(errors.New("connection lost"))
	<-second.Done()
	fmt.Println(first.Err(), "-", second.Err())
	// Output:
	// channel closed - <nil>
	// channel closed - connection lost
}
