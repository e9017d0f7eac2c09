package brokers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/waybill-go/waybill/testing/brokers/internal/keeper"
	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

func init() { keeper.Main() }

// A Broker is a running broker.
type Broker struct {
	// URL is what pubsub.Open takes. A cluster of Kafka has all its nodes in it, a cluster
	// of RabbitMQ the first: see Addresses.
	URL string
	// Version is the broker's; empty where the address came from the environment.
	Version string
	// Addresses are host and port of each node; empty where the address came from
	// the environment.
	Addresses []string
	// TLS is how to reach it over TLS; nil where it is not offered. RabbitMQ and Kafka
	// that were started here offer it; Kafka wants a certificate of its clients then.
	TLS *TLS
	// SASL is how to log in to a Kafka, over TLS; nil where that is not offered. Kafka that
	// was started here offers it.
	SASL *SASL

	kind    recipe.Kind
	private bool
	record  *keeper.Record // nil where somebody else runs it
}

// TLS is how to reach a broker over TLS.
type TLS struct {
	URL  string // for TLS, with a password or certificate
	CA   string // file: the authority that signed the server's certificate
	Cert string // file: a certificate of the user guest, for EXTERNAL
	Key  string // file: its key
}

// SASL is how to log in to a broker. The mechanisms are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512,
// and OAUTHBEARER with tokens that nobody signed.
type SASL struct {
	URL            string // with the password, for PLAIN; add &sasl=scram-sha-256 for another
	User, Password string
	Lasts          time.Duration // a login by PLAIN: the broker ends a connection that does not renew it
}

// Start gives a broker to a program that is not a test: "rabbitmq", "rabbitmq@4.3",
// "kafka", "gcppubsub", "snssqs". It ends with the program, or with Close.
func Start(ctx context.Context, name string, options ...Option) (*Broker, error) {
	want, err := recipe.Parse(name)
	if err != nil {
		return nil, err
	}
	return get(ctx, want, options)
}

// get is where a broker comes from: the environment, else this machine.
func get(ctx context.Context, want recipe.Want, options []Option) (*Broker, error) {
	r := request{version: want.Version, nodes: 1}
	for _, o := range options {
		o(&r)
	}
	want.Version = r.version
	if r.nodes < 1 {
		return nil, fmt.Errorf("%d nodes: ask for one or more", r.nodes)
	}
	owner, unowned := owner(r.private)
	if url := os.Getenv(want.Environment()); url != "" && !r.private && r.nodes == 1 {
		if unowned == nil {
			if record, ok := keeper.Shared(owner, url); ok {
				return wrap(record, false), nil
			}
		}
		return &Broker{URL: url, kind: want.Kind}, nil
	}
	if unowned != nil {
		return nil, &missing{fmt.Errorf("%s cannot be started on this system (%w): %s", want, unowned, want.Hint())}
	}
	i, err := recipe.Find(want)
	if err != nil {
		return nil, &missing{err}
	}
	start := keeper.Share
	if r.private {
		start = keeper.Launch
	}
	record, err := start(ctx, owner, i, r.nodes)
	if err != nil {
		return nil, err
	}
	return wrap(record, r.private), nil
}

// missing is the error of a broker that this machine does not have.
type missing struct{ error }

func (m *missing) Unwrap() error { return m.error }

func wrap(r *keeper.Record, private bool) *Broker {
	b := &Broker{URL: r.URL, Version: r.Version, Addresses: r.Addresses, kind: r.Kind, private: private, record: r}
	if t := r.TLS; t != nil {
		b.TLS = &TLS{URL: t.URL, CA: t.CA, Cert: t.ClientCert, Key: t.Key}
	}
	if l := r.SASL; l != nil {
		b.SASL = &SASL{URL: l.URL, User: l.User, Password: l.Password, Lasts: l.Lasts}
	}
	return b
}

// Close ends a private instance at once, with all that it holds. A shared one stays.
func (b *Broker) Close() error {
	if !b.private {
		return nil
	}
	_, err := b.record.Ask(context.Background(), keeper.Request{Do: keeper.End})
	return err
}

// Admin runs the broker's own tool for operators at the first node and returns what it
// prints. For RabbitMQ the arguments are those of rabbitmqctl; for Kafka the first one
// names the tool, such as kafka-topics, which gets its --bootstrap-server by itself.
func (b *Broker) Admin(ctx context.Context, args ...string) (string, error) {
	return b.AdminInput(ctx, "", args...)
}

// AdminInput is Admin with something for the tool to read.
func (b *Broker) AdminInput(ctx context.Context, input string, args ...string) (string, error) {
	if b.record == nil {
		return "", fmt.Errorf("%s: the address came from the environment, so its tools are not known: ask for an instance with brokers.Private()", b.kind)
	}
	return b.record.Ask(ctx, keeper.Request{Do: keeper.Admin, Args: args, Input: input})
}

// Mine says whether Admin works on this broker.
func (b *Broker) Mine() bool { return b.record != nil }

// errShared keeps one test from taking the broker away from another.
var errShared = errors.New("others use this broker too: ask for an instance with brokers.Private()")

// owner is whose end is the broker's end: this process for a private instance; for a
// shared one what `brokers run` says, or the `go test` that runs this test, or else
// this process.
func owner(private bool) (keeper.Process, error) {
	self, err := keeper.Find(os.Getpid())
	if err != nil || private {
		return self, err
	}
	if said := os.Getenv(ownerVariable); said != "" {
		p, err := keeper.ParseProcess(said)
		if err != nil {
			return p, fmt.Errorf("%s: %w", ownerVariable, err)
		}
		if p.Alive() {
			return p, nil
		}
	}
	parent := os.Getppid()
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", parent)); err == nil && strings.HasSuffix(exe, "/go") {
		if p, err := keeper.Find(parent); err == nil {
			return p, nil
		}
	}
	return self, nil
}

// ownerVariable is set by `brokers run` for what it runs.
const ownerVariable = "WAYBILL_BROKERS_OWNER"
