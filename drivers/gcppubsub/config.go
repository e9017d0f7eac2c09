package gcppubsub

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"cloud.google.com/go/auth/credentials"
	apiv1 "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Config says which Pub/Sub, and how it is reached. The zero value is the project of
// the environment's credentials.
type Config struct {
	// Project is the project's id; default: GOOGLE_CLOUD_PROJECT, then the credentials'.
	Project string
	// Emulator is the address of Google's emulator; default: PUBSUB_EMULATOR_HOST.
	Emulator string
	// Endpoint is another address than pubsub.googleapis.com:443.
	Endpoint string
	// Universe is another universe's domain than googleapis.com.
	Universe string
	// ExactlyOnce makes subscriptions with exactly-once delivery, and expects it of those
	// that exist; settlements are then confirmed.
	ExactlyOnce bool
	// Lease is the ack deadline of subscriptions that ask for none, in whole seconds, 10 to
	// 600; default 30 s. What a broken connection carried comes again after that.
	Lease time.Duration
	// Client has further options for Google's clients, such as credentials.
	Client []option.ClientOption
}

// Driver connects to Pub/Sub. It is a driver.Driver.
type Driver struct{ config Config }

// New makes a driver. It fails with CodeInvalid on a Config that makes no sense.
func New(c Config) (*Driver, error) {
	if c.Project == "" {
		c.Project = os.Getenv("GOOGLE_CLOUD_PROJECT")
	}
	if c.Endpoint == "" && c.Emulator == "" {
		c.Emulator = os.Getenv("PUBSUB_EMULATOR_HOST")
	}
	if c.Lease == 0 {
		c.Lease = 30 * time.Second
	}
	switch {
	case c.Lease%time.Second != 0 || c.Lease < leastLease || c.Lease > 600*time.Second:
		return nil, driver.Errorf(driver.CodeInvalid, "gcppubsub: lease %v: want whole seconds, 10 to 600", c.Lease)
	case c.Endpoint != "" && c.Emulator != "":
		return nil, driver.Errorf(driver.CodeInvalid, "gcppubsub: endpoint and emulator are both given; leave one out")
	case c.Endpoint != "" && os.Getenv("PUBSUB_EMULATOR_HOST") != "":
		return nil, driver.Errorf(driver.CodeInvalid, "gcppubsub: endpoint is given and PUBSUB_EMULATOR_HOST is set; unset it")
	case c.Project == "" && c.Emulator != "":
		return nil, driver.Errorf(driver.CodeInvalid, "gcppubsub: no project: name it, as in gcppubsub://my-project")
	}
	return &Driver{c}, nil
}

// timeout bounds a request that nothing else does.
const timeout = 60 * time.Second

// Open makes Google's clients and asks once whether the broker answers.
func (d *Driver) Open(ctx context.Context) (driver.Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c := d.config
	if c.Project == "" {
		found, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: apiv1.DefaultAuthScopes()})
		if err != nil {
			return nil, driver.Wrap(driver.CodeUnauthenticated, "no project is named, and there are no credentials to find it in", err)
		}
		if c.Project, err = found.ProjectID(ctx); err != nil || c.Project == "" {
			return nil, driver.Errorf(driver.CodeInvalid, "gcppubsub: no project: name it, as in gcppubsub://my-project, or set GOOGLE_CLOUD_PROJECT")
		}
	}
	topics, err := apiv1.NewTopicAdminClient(context.WithoutCancel(ctx), c.options()...)
	if err != nil {
		return nil, opening(err)
	}
	subscriptions, err := apiv1.NewSubscriptionAdminClient(context.WithoutCancel(ctx), c.options()...)
	if err != nil {
		_ = topics.Close()
		return nil, opening(err)
	}
	// The engine tries again, with backoff; these clients would do so too, beneath it.
	topics.CallOptions, subscriptions.CallOptions = &apiv1.TopicAdminCallOptions{}, &apiv1.SubscriptionAdminCallOptions{}
	conn := &conn{Life: driver.NewLife(nil), config: c, client: Client{topics, subscriptions, c.Project}, member: rand.Text(),
		tallies: map[string]*tally{}}
	if err := conn.probe(ctx); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// opening is the error of a client that cannot be made: its credentials, mostly.
func opening(err error) error {
	return driver.Wrap(driver.CodeUnauthenticated, "gcppubsub: no usable credentials: set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login", err)
}

// options are those of Google's clients.
func (c *Config) options() []option.ClientOption {
	list := []option.ClientOption{
		option.WithGRPCDialOption(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		})),
	}
	if c.Emulator != "" {
		list = append(list, option.WithEndpoint("passthrough:///"+c.Emulator), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
		return append(list, c.Client...)
	}
	list = append(list, option.WithGRPCConnectionPool(4),
		option.WithGRPCDialOption(grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 5 * time.Minute})))
	if c.Endpoint != "" {
		list = append(list, option.WithEndpoint(c.Endpoint))
	}
	if c.Universe != "" {
		list = append(list, option.WithUniverseDomain(c.Universe))
	}
	return append(list, c.Client...)
}

// probe asks for a topic that is hardly there: that needs no particular right to show
// whether the broker answers and knows these credentials and this project.
func (c *conn) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := c.client.Topics.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: c.topicName("waybill-probe")})
	switch codeOf(err) {
	case codes.OK, codes.PermissionDenied: // what may be done shows when it is done
		return nil
	case codes.NotFound:
		if missingProject(err) {
			return driver.Wrap(driver.CodeNotFound, fmt.Sprintf("project %q", c.client.Project), err)
		}
		return nil
	default:
		return failure("connect", err)
	}
}

// capabilities are what Pub/Sub can do.
func (c *Config) capabilities() driver.Capabilities {
	name := "Google Pub/Sub"
	if c.Emulator != "" {
		name += " emulator"
	}
	return driver.Capabilities{
		Broker: name,
		Groups: true, Queues: true, Broadcast: true, Ordered: true, DeadLetter: true,
		ShowsMismatch: true, Competing: true,
		Attempts:     driver.AtMost,
		RetryDelay:   600 * time.Second,
		RetryLeast:   time.Second,
		OrderedRetry: driver.HoldsNone,
		Lease:        c.Lease, Hold: driver.Unlimited,
		MessageBytes: requestBytes - 16<<10, Headers: attributeLimit - reserved, HeaderBytes: nameBytes + valueBytes, KeyBytes: 1024, TextHeaders: true,
		SendBatch:     driver.Batch{Messages: 1000, Bytes: requestBytes * 9 / 10, Linger: 2 * time.Millisecond},
		SettleBatch:   driver.Batch{Messages: 1000, Linger: 2 * time.Millisecond},
		KeyPerSend:    true,
		ResendUnknown: true, SettleConfirmed: c.ExactlyOnce,
	}
}
