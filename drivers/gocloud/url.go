package gocloud

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/gcerrors"
	cloud "gocloud.dev/pubsub"

	"github.com/waybill-go/waybill/pubsub/driver"
)

const scheme = "gocloud"

func init() {
	driver.Register(scheme, open)
	driver.RegisterSettings(driver.Settings{Topic: readTopic, Subscription: readSubscription}, scheme)
}

// URLs opens what gocloud.dev's URLs name. In them {topic} and {group} stand for the names
// of the request, escaped. What a field leaves empty is not offered.
//
// gocloud.dev declares nothing and cannot look, so a topic is opened with
// pubsub.Topology(pubsub.Assume) alone.
type URLs struct {
	// Topic is where messages are published, such as azuresb://{topic}.
	Topic string
	// Group is the subscription of a group, such as azuresb://{topic}?subscription={group}.
	Group string
	// Queue is the subscription of a queue, such as azuresb://{topic}?subscription=workers.
	Queue string
	// Broadcast is a subscription that gets a copy of its own, such as nats://{topic}.
	Broadcast string
	// Name is the broker's, for people; default "gocloud.dev (SCHEME)".
	Name string
	// Hold is how long the broker lets a message be unsettled, for gocloud.dev extends no
	// lease; default: not known. A handler that takes longer has its context ended.
	Hold time.Duration
	// MessageBytes is the largest message; default: not known.
	MessageBytes int
	// Mux knows the schemes; default: cloud.DefaultURLMux.
	Mux *cloud.URLMux
}

// Settings put URLs in place of a Driver's, for one topic or subscription.
type Settings struct {
	// Topic is the topic's URL.
	Topic string
	// Subscription is the URL of its group, queue or broadcast.
	Subscription string
}

func (s *Settings) merge(o Settings) {
	if o.Topic != "" {
		s.Topic = o.Topic
	}
	if o.Subscription != "" {
		s.Subscription = o.Subscription
	}
}

func readTopic(p *driver.Params) []any {
	var s Settings
	p.String("url", &s.Topic)
	return []any{s}
}

func readSubscription(p *driver.Params) []any {
	var s Settings
	p.String("url", &s.Subscription)
	return []any{s}
}

func open(u *url.URL) (driver.Driver, error) {
	if u.User != nil || u.Host != "" || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return nil, driver.Errorf(driver.CodeInvalid,
			"gocloud URL: want gocloud://?topic=URL&group=URL, and nothing else; a & or # in those URLs is written %%26 or "+
				"%%23")
	}
	var urls URLs
	var c Config
	p := driver.ParseParams(u)
	p.String("topic", &urls.Topic)
	p.String("group", &urls.Group)
	p.String("queue", &urls.Queue)
	p.String("broadcast", &urls.Broadcast)
	p.String("name", &urls.Name)
	p.Duration("hold", &urls.Hold)
	p.Int("message-bytes", &urls.MessageBytes)
	p.String("key-metadata", &c.KeyMetadata)
	p.Bool("at-most-once", &c.AtMostOnce)
	if err := p.End(); err != nil {
		return nil, err
	}
	if err := urls.check(); err != nil {
		return nil, err
	}
	c.Connect = urls.Connect
	d, err := New(c)
	if err != nil {
		return nil, err
	}
	return d, nil
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// check looks at what can be seen without a broker.
func (u *URLs) check() error {
	if u.Topic+u.Group+u.Queue+u.Broadcast == "" {
		return driver.Errorf(driver.CodeInvalid, "gocloud: no URL is given: want topic=, and group=, queue= or broadcast=")
	}
	mux := u.mux()
	for _, one := range []struct {
		name, url string
		known     []string
	}{
		{"topic", u.Topic, mux.TopicSchemes()}, {"group", u.Group, mux.SubscriptionSchemes()},
		{"queue", u.Queue, mux.SubscriptionSchemes()}, {"broadcast", u.Broadcast, mux.SubscriptionSchemes()},
	} {
		if one.url == "" {
			continue
		}
		for _, p := range placeholder.FindAllString(one.url, -1) {
			if p != "{topic}" && (p != "{group}" || one.name != "group") {
				return driver.Errorf(driver.CodeInvalid, "gocloud: %s URL: %s stands for nothing there; {topic} does, and {group} in a group's", one.name, p)
			}
		}
		s, _, found := strings.Cut(one.url, "://")
		if !found || !slices.Contains(one.known, s) {
			return driver.Errorf(driver.CodeInvalid,
				"gocloud: %s URL: no gocloud.dev driver of scheme %q is linked in; linked in: %s; import its package, such as "+
					"gocloud.dev/pubsub/azuresb", one.name, s, strings.Join(one.known, ", "))
		}
	}
	return nil
}

func (u *URLs) mux() *cloud.URLMux {
	if u.Mux != nil {
		return u.Mux
	}
	return cloud.DefaultURLMux()
}

// Connect is a Config's Connect. It checks the URLs and dials nothing: gocloud.dev dials
// when a topic or subscription is opened, or first used.
func (u URLs) Connect(context.Context) (Broker, error) {
	if err := u.check(); err != nil {
		return nil, err
	}
	if u.Name == "" {
		for _, one := range []string{u.Topic, u.Group, u.Queue, u.Broadcast} {
			if s, _, ok := strings.Cut(one, "://"); ok {
				u.Name = "gocloud.dev (" + s + ")"
				break
			}
		}
	}
	return &mapped{URLs: u, opened: map[named]shutter{}}, nil
}

// shutter is what *cloud.Topic and *cloud.Subscription have in common.
type shutter interface {
	Shutdown(ctx context.Context) error
}

// mapped is the Broker of URLs.
type mapped struct {
	URLs
	mu     sync.Mutex
	opened map[named]shutter // what is shared, the newest of each
}

// named is a URL's name, and what was opened by it.
type named struct {
	name string
	at   place
}

func (m *mapped) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Broker: m.Name, Groups: m.Group != "", Queues: m.Queue != "", Broadcast: m.URLs.Broadcast != "",
		Hold: m.Hold, MessageBytes: m.MessageBytes,
	}
}

func (m *mapped) Done() <-chan struct{} { return nil }

func (m *mapped) Topic(ctx context.Context, r driver.TopicRequest) (*cloud.Topic, error) {
	p, err := at(&r, "")
	if err != nil {
		return nil, err
	}
	return opened(m, r.Topology, "topic", m.URLs.Topic, p.settings.Topic, p, func(address string) (*cloud.Topic, error) {
		return m.mux().OpenTopic(ctx, address)
	})
}

func (m *mapped) Subscription(ctx context.Context, r driver.SubscribeRequest) (*cloud.Subscription, error) {
	p, err := at(&r.TopicRequest, r.Group)
	if err != nil {
		return nil, err
	}
	name, template := "group", m.Group
	switch {
	case r.Kind == driver.Queue:
		name, template = "queue", m.Queue
	case r.Broadcast():
		name, template = "broadcast", m.URLs.Broadcast
	}
	return opened(m, r.Topology, name, template, p.settings.Subscription, p, func(address string) (*cloud.Subscription, error) {
		return m.mux().OpenSubscription(ctx, address)
	})
}

// opened opens a URL and notes what Close has to shut down.
func opened[T shutter](m *mapped, t driver.Topology, name, template, setting string, p place, open func(string) (T, error)) (T, error) {
	var none T
	if t != driver.Assume {
		return none, driver.Errorf(driver.CodeUnsupported,
			"gocloud: gocloud.dev cannot %s a topology: make it with the broker's own tools, and open with "+
				"pubsub.Topology(pubsub.Assume), or topology: assume in a file", t)
	}
	if setting != "" {
		template = setting
	}
	if template == "" {
		return none, driver.Errorf(driver.CodeInvalid, "gocloud: there is no URL for %s: give %s=, or Settings", p, name)
	}
	address := strings.NewReplacer("{topic}", escape(p.topic), "{group}", escape(p.group)).Replace(template)
	one, err := open(address)
	if err != nil {
		if gcerrors.Code(err) == gcerrors.Unknown {
			// What gocloud.dev says of URLs has no code; a connection that failed has none either.
			err = driver.Wrap(driver.CodeUnavailable, "gocloud: open "+p.String(), &discreet{err})
		}
		return none, err
	}
	if name != "broadcast" { // whose session shuts it down
		m.mu.Lock()
		defer m.mu.Unlock()
		m.opened[named{name, p}] = one
	}
	return one, nil
}

func escape(name string) string { return strings.ReplaceAll(url.QueryEscape(name), "+", "%20") }

func (m *mapped) Close(ctx context.Context) error {
	m.mu.Lock()
	list := m.opened
	m.opened = map[named]shutter{}
	m.mu.Unlock()
	var wait sync.WaitGroup
	errs := make(chan error, len(list))
	for _, one := range list {
		wait.Go(func() {
			// What had failed is shut down already.
			if err := one.Shutdown(ctx); gcerrors.Code(err) != gcerrors.FailedPrecondition {
				errs <- err
			}
		})
	}
	wait.Wait()
	close(errs)
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}
