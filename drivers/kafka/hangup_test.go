package kafka_test

import (
	"net"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/drivers/kafka"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// A listener that hangs up on a client without a word wants TLS, a login, or neither: the
// error says where to look. One that cannot be reached is another matter.
func TestListenerThatHangsUp(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	address := listener.Addr().String()
	open := func(password string) error {
		c := kafka.Config{Brokers: []string{address}}
		if password != "" {
			c.SASL = &kafka.SASL{Mechanism: "PLAIN", User: "joe", Password: password}
		}
		d, err := kafka.New(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Open(t.Context())
		return err
	}
	const hint = "check that tls, sasl and user are what this listener wants"
	for _, password := range []string{"", "hunter2"} {
		if err := open(password); err == nil || !strings.Contains(err.Error(), hint) || driver.CodeOf(err) != driver.CodeUnavailable || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(""); err == nil || strings.Contains(err.Error(), hint) {
		t.Errorf("nobody listens: got %v", err)
	}
}
