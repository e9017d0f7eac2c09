package gocloud

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"time"

	"gocloud.dev/gcerrors"
	cloud "gocloud.dev/pubsub"
	"gocloud.dev/pubsub/batcher"
	cloudriver "gocloud.dev/pubsub/driver"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// The other way: topics and subscriptions of Waybill's for code that is written for
// gocloud.dev.

// Scheme is what URLOpener's URLs begin with.
const Scheme = "waybill"

// closeTimeout is how long a Shutdown may take, which gocloud.dev gives drivers no context
// for.
const closeTimeout = 30 * time.Second

// TopicOptions are for NewTopic. The zero value is useful.
type TopicOptions struct {
	// KeyMetadata is the name of the metadata that becomes a message's Key; default: none.
	KeyMetadata string
}

// NewTopic makes a topic of gocloud.dev's of a publisher, which its Shutdown closes.
// Every Send is a Publish of its own, and has an error of its own; the engine
// makes batches of them. Metadata are headers.
//
// As takes a *pubsub.Publisher, BeforeSend's a **pubsub.Message, and ErrorAs a
// **pubsub.Error.
func NewTopic(p pubsub.Publisher, o TopicOptions) *cloud.Topic {
	return cloud.NewTopic(newTopic(p, o), &batcher.Options{MaxBatchSize: 1, MaxHandlers: 1_000})
}

func newTopic(p pubsub.Publisher, o TopicOptions) *topic { return &topic{to: p, options: o} }

// topic is a cloudriver.Topic.
type topic struct {
	translator
	to      pubsub.Publisher
	options TopicOptions
}

func (t *topic) SendBatch(ctx context.Context, batch []*cloudriver.Message) error {
	messages := make([]*pubsub.Message, len(batch))
	for i, m := range batch {
		out := &pubsub.Message{Body: m.Body, Headers: m.Metadata}
		if key, ok := m.Metadata[t.options.KeyMetadata]; ok && t.options.KeyMetadata != "" {
			out.Key, out.Headers = key, maps.Clone(m.Metadata)
			delete(out.Headers, t.options.KeyMetadata)
		}
		if m.BeforeSend != nil {
			if err := m.BeforeSend(func(i any) bool { return assign(i, out) }); err != nil {
				return err
			}
		}
		messages[i] = out
	}
	if err := t.to.Publish(ctx, messages...); err != nil {
		return err
	}
	for _, m := range batch {
		if m.AfterSend != nil {
			if err := m.AfterSend(func(any) bool { return false }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *topic) As(i any) bool { return assign(i, t.to) }

func (t *topic) Close() error { return closeIt(t.to) }

// translator is what both sides tell of errors.
type translator struct{}

// IsRetryable says no: the engine has tried already.
func (translator) IsRetryable(error) bool { return false }

func (translator) ErrorAs(err error, i any) bool {
	e, ok := i.(**pubsub.Error)
	return ok && errors.As(err, e)
}

var cloudCodes = map[pubsub.Code]gcerrors.ErrorCode{
	pubsub.CodeInternal:         gcerrors.Internal,
	pubsub.CodeInvalid:          gcerrors.InvalidArgument,
	pubsub.CodeUnsupported:      gcerrors.Unimplemented,
	pubsub.CodeNotFound:         gcerrors.NotFound,
	pubsub.CodeConflict:         gcerrors.FailedPrecondition,
	pubsub.CodeUnauthenticated:  gcerrors.PermissionDenied,
	pubsub.CodePermissionDenied: gcerrors.PermissionDenied,
	pubsub.CodeTooLarge:         gcerrors.InvalidArgument,
	pubsub.CodeExhausted:        gcerrors.ResourceExhausted,
	pubsub.CodeClosed:           gcerrors.FailedPrecondition,
	pubsub.CodeAborted:          gcerrors.FailedPrecondition,
	pubsub.CodeCanceled:         gcerrors.Canceled,
}

func (translator) ErrorCode(err error) gcerrors.ErrorCode {
	if errors.Is(err, context.DeadlineExceeded) {
		return gcerrors.DeadlineExceeded
	}
	if code, ok := cloudCodes[pubsub.CodeOf(err)]; ok {
		return code
	}
	return gcerrors.Unknown
}

// assign does an As for one type.
func assign[T any](i any, v T) bool {
	p, ok := i.(*T)
	if ok {
		*p = v
	}
	return ok
}

func closeIt(c any) error {
	if c, ok := c.(interface {
		Close(ctx context.Context) error
	}); ok {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return c.Close(ctx)
	}
	return nil
}

// URLOpener opens URLs of gocloud.dev's on a client of Waybill's:
//
//	waybill://orders                  a topic; &ordered=true, &kind=queue
//	waybill://orders?group=billing    a subscription of a group
//	waybill://images?kind=queue       a subscription of a queue
//	waybill://prices?broadcast=true   a subscription that gets a copy of its own
//
// Register it: cloud.DefaultURLMux().RegisterTopic(gocloud.Scheme, opener), and
// RegisterSubscription.
type URLOpener struct {
	// Client opens them. It stays open when they are shut down.
	Client *pubsub.Client
	// TopicOptions go with every topic.
	TopicOptions TopicOptions
	// Publisher are options of every topic.
	Publisher []pubsub.PublisherOption
	// Subscriber are options of every subscription; default: pubsub.DropPermanent, which
	// without MaxAttempts drops nothing.
	Subscriber []pubsub.SubscriberOption
}

// OpenTopicURL opens a topic.
func (o *URLOpener) OpenTopicURL(ctx context.Context, u *url.URL) (*cloud.Topic, error) {
	name, shared, reader, err := o.read(u)
	if err != nil {
		return nil, err
	}
	if len(reader) > 0 {
		return nil, driver.Errorf(pubsub.CodeInvalid, "waybill URL of a topic: parameters \"group\" and \"broadcast\" are for subscriptions")
	}
	options := append([]pubsub.PublisherOption{shared}, o.Publisher...)
	t, err := o.Client.Publisher(ctx, name, options...)
	if err != nil {
		return nil, err
	}
	return NewTopic(t, o.TopicOptions), nil
}

// OpenSubscriptionURL opens a subscription.
func (o *URLOpener) OpenSubscriptionURL(ctx context.Context, u *url.URL) (*cloud.Subscription, error) {
	name, shared, reader, err := o.read(u)
	if err != nil {
		return nil, err
	}
	options := append([]pubsub.SubscriberOption{shared, pubsub.Concurrency(unacknowledged)}, reader...)
	if len(o.Subscriber) == 0 {
		options = append(options, pubsub.DropPermanent())
	}
	s, err := o.Client.Subscriber(ctx, name, append(options, o.Subscriber...)...)
	if err != nil {
		return nil, err
	}
	return NewSubscription(s), nil
}

// unacknowledged is how many messages a program may have received from a URL's
// subscription, and not acknowledged.
const unacknowledged = 1_000

// read finds the topic of a URL, what both sides say of it, and who reads it.
func (o *URLOpener) read(u *url.URL) (name string, shared pubsub.TopicOption, reader []pubsub.SubscriberOption, err error) {
	if o.Client == nil {
		return "", nil, nil, driver.Errorf(pubsub.CodeInvalid, "gocloud: URLOpener.Client is nil")
	}
	if u.Host == "" || u.User != nil || u.Port() != "" || u.Path != "" || u.Fragment != "" {
		return "", nil, nil, driver.Errorf(pubsub.CodeInvalid, "%s URL: want %s://TOPIC, with parameters after a ?, and nothing else", Scheme, Scheme)
	}
	var group, kind string
	var broadcast, ordered bool
	p := driver.ParseParams(u)
	p.String("group", &group)
	p.Bool("broadcast", &broadcast)
	p.Choice("kind", &kind, "event", "queue")
	p.Bool("ordered", &ordered)
	var options []pubsub.TopicOption
	if kind == "queue" {
		options = append(options, pubsub.Queue())
	}
	if ordered {
		options = append(options, pubsub.Ordered())
	}
	if group != "" {
		reader = append(reader, pubsub.Group(group))
	}
	if broadcast {
		reader = append(reader, pubsub.Broadcast())
	}
	return u.Hostname(), pubsub.TopicOptions(options...), reader, p.End()
}
