package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// TestSASL logs in to a broker in the process.
func TestSASL(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "me", "right"), kfake.Superuser("SCRAM-SHA-256", "me", "right"), kfake.Superuser("SCRAM-SHA-512", "me", "right"))
	must(t, err)
	defer cluster.Close()
	for _, mechanism := range []string{plain, scramSHA256, scramSHA512} {
		for _, password := range []string{"right", "wr0ng"} {
			d, err := New(Config{Brokers: cluster.ListenAddrs(), Timeout: 5 * time.Second, SASL: &SASL{Mechanism: mechanism, User: "me", Password: password}})
			must(t, err)
			c, err := d.Open(t.Context())
			if password == "right" {
				if err != nil {
					t.Errorf("%s: %v", mechanism, err)
				} else {
					must(t, c.Close(t.Context()))
				}
				continue
			}
			// This broker hangs up; a real one says why, as below.
			if err == nil || strings.Contains(err.Error(), password) {
				t.Errorf("%s with a wrong password: %v (%s)", mechanism, err, driver.CodeOf(err))
			}
		}
	}
	refusal := sarama.Wrap(sarama.ErrOutOfBrokers, sarama.Wrap(sarama.ErrSASLAuthenticationFailed, errors.New("invalid credentials")))
	if err := classify("kafka: connect", refusal); driver.CodeOf(err) != driver.CodeUnauthenticated {
		t.Errorf("got %v (%s)", err, driver.CodeOf(err))
	}
	asked := errors.New("as the test wants")
	d, err := New(Config{Brokers: cluster.ListenAddrs(), Timeout: 5 * time.Second, SASL: &SASL{
		Mechanism: oauthBearer, Token: func(context.Context) (string, error) { return "", asked },
	}})
	must(t, err)
	if _, err := d.Open(t.Context()); err == nil {
		t.Error("a mechanism that the broker does not have was taken")
	}
}
