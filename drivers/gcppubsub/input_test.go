package gcppubsub_test

import (
	"strings"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waybill-go/waybill/drivers/gcppubsub"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
	"github.com/waybill-go/waybill/testing/brokers"
)

func TestBadURL(t *testing.T) {
	t.Parallel()
	for raw, words := range map[string]string{
		"gcppubsub://?emulator=127.0.0.1:1":           "no project",
		"gcppubsub://p:1":                             "want gcppubsub://PROJECT",
		"gcppubsub://u:sesame@p":                      "want gcppubsub://PROJECT",
		"gcppubsub://p/x":                             "want gcppubsub://PROJECT",
		"gcppubsub://p?emulater=x":                    `did you mean "emulator"?`,
		"gcppubsub://p?emulator=a:1&endpoint=b:1":     "leave one out",
		"gcppubsub://p?project=q&emulator=a:1":        "two projects",
		"gcppubsub://p?exactly-once=yes&emulator=a:1": "true or false",
		"gcppubsub://p?lease=5s&emulator=a:1":         "10 to 600",
		"gcppubsub://p?lease=10500ms&emulator=a:1":    "whole seconds",
	} {
		_, err := driver.FromURL(raw)
		fails(t, err, pubsub.CodeInvalid, words)
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q has the password", err)
		}
	}
}

func TestEmulatorOfTheEnvironment(t *testing.T) {
	b := brokers.GCPPubSub(t)
	t.Setenv("PUBSUB_EMULATOR_HOST", address(t, b))
	client, err := pubsub.Open(t.Context(), "gcppubsub://waybill-test")
	must(t, err)
	closing(t, client)
	_, err = driver.FromURL("gcppubsub://p?endpoint=a:1")
	fails(t, err, pubsub.CodeInvalid, "PUBSUB_EMULATOR_HOST")
}

func TestNoCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", t.TempDir()+"/none.json")
	d, err := gcppubsub.New(gcppubsub.Config{Project: "p", Endpoint: "127.0.0.1:1"})
	must(t, err)
	_, err = d.Open(t.Context())
	fails(t, err, pubsub.CodeUnauthenticated, "GOOGLE_APPLICATION_CREDENTIALS")
}

func TestConnectionsThatFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code codes.Code
		text string
		want pubsub.Code
	}{
		{codes.NotFound, "Requested project not found or user does not have access to it", pubsub.CodeNotFound},
		{codes.Unauthenticated, "Request had invalid authentication credentials", pubsub.CodeUnauthenticated},
		{codes.Unavailable, "try later", pubsub.CodeUnavailable},
	} {
		f := newFake(t)
		f.onAdmin = func(string) error { return status.Error(c.code, c.text) }
		_, err := from(t, f.url(), "").Open(t.Context())
		fails(t, err, c.want, c.text)
	}
}

func TestRefusedTopology(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	group := pubsub.Group("g")
	for name, c := range map[string]struct {
		prepare func(f *fake)
		options []pubsub.SubscriberOption
		code    pubsub.Code
		words   string
	}{
		"permission denied": {
			prepare: func(f *fake) {
				f.onAdmin = func(name string) error {
					if name == "CreateTopic" {
						return status.Error(codes.PermissionDenied, "User not authorized to perform this action: pubsub.topics.create")
					}
					return nil
				}
			},
			code: pubsub.CodePermissionDenied, words: "pubsub.topics.create",
		},
		"filter": {
			prepare: func(f *fake) {
				f.onAdmin = func(name string) error {
					if name == "CreateSubscription" {
						return status.Error(codes.InvalidArgument, "Invalid filter expression")
					}
					return nil
				}
			},
			options: []pubsub.SubscriberOption{pubsub.Settings(gcppubsub.Subscription{Filter: "((("})},
			code:    pubsub.CodeInvalid, words: "filter",
		},
		"another topic's": {
			prepare: func(f *fake) { f.subscription(&pubsubpb.Subscription{Topic: "projects/p/topics/other"}) },
			code:    pubsub.CodeConflict, words: "topic is projects/p/topics/other",
		},
		"detached": {
			prepare: func(f *fake) { f.subscription(&pubsubpb.Subscription{Detached: true}) },
			code:    pubsub.CodeConflict, words: "detached",
		},
		"push": {
			prepare: func(f *fake) {
				f.subscription(&pubsubpb.Subscription{PushConfig: &pubsubpb.PushConfig{PushEndpoint: "https://example.com"}})
			},
			code: pubsub.CodeConflict, words: "pushes",
		},
		"exactly-once": {
			prepare: func(f *fake) { f.subscription(&pubsubpb.Subscription{Topic: "projects/p/topics/topic"}) },
			options: []pubsub.SubscriberOption{pubsub.Settings(gcppubsub.Subscription{ExactlyOnce: true})},
			code:    pubsub.CodeConflict, words: "exactly-once is false, not true",
		},
		"ack deadline": {
			options: []pubsub.SubscriberOption{pubsub.Settings(gcppubsub.Subscription{AckDeadline: 1})},
			code:    pubsub.CodeInvalid, words: "ack deadline",
		},
		"lease": {
			options: []pubsub.SubscriberOption{pubsub.Lease(1500 * 1e6)},
			code:    pubsub.CodeInvalid, words: "whole seconds",
		},
		"name by a setting": {
			options: []pubsub.SubscriberOption{pubsub.Settings(gcppubsub.Subscription{Name: "google"})},
			code:    pubsub.CodeInvalid, words: "not one of Google's",
		},
		"long name": {
			options: []pubsub.SubscriberOption{pubsub.Settings(gcppubsub.Topic{Name: strings.Repeat("x", 256)})},
			code:    pubsub.CodeInvalid, words: "3 to 255",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			if c.prepare != nil {
				c.prepare(f)
			}
			client, err := pubsub.New(ctx, from(t, f.url(), ""), quiet)
			must(t, err)
			defer closing(t, client)
			_, err = client.Subscriber(ctx, "topic", append([]pubsub.SubscriberOption{group, pubsub.DropPermanent()}, c.options...)...)
			fails(t, err, c.code, c.words)
		})
	}
	client, err := pubsub.New(ctx, from(t, newFake(t).url(), ""), quiet)
	must(t, err)
	defer closing(t, client)
	_, err = client.Subscriber(ctx, "topic", group, pubsub.NativeDeadLetter("dead", 3))
	fails(t, err, pubsub.CodeInvalid, "5 to 100")
}

// subscription makes one as it is, of the group g of topic.
func (f *fake) subscription(s *pubsubpb.Subscription) {
	s.Name = "projects/p/subscriptions/topic.g"
	f.subscriptions[s.Name] = s
}

func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	client, err := pubsub.New(ctx, from(t, newFake(t).url(), ""), quiet)
	must(t, err)
	defer closing(t, client)
	p, err := client.Publisher(ctx, "topic", pubsub.Ordered())
	must(t, err)
	headers := map[string]string{}
	for i := range 101 {
		headers[strings.Repeat("h", i+1)] = ""
	}
	for name, c := range map[string]struct {
		message pubsub.Message
		code    pubsub.Code
	}{
		"long key":         {pubsub.Message{Key: strings.Repeat("k", 1025)}, pubsub.CodeTooLarge},
		"long ID":          {pubsub.Message{ID: strings.Repeat("i", 1025)}, pubsub.CodeTooLarge},
		"binary key":       {pubsub.Message{Key: "\xff"}, pubsub.CodeInvalid},
		"many headers":     {pubsub.Message{Headers: headers}, pubsub.CodeTooLarge},
		"long header":      {pubsub.Message{Headers: map[string]string{"h": strings.Repeat("v", 1025)}}, pubsub.CodeTooLarge},
		"long header name": {pubsub.Message{Headers: map[string]string{strings.Repeat("h", 257): "v"}}, pubsub.CodeTooLarge},
		"Google's header":  {pubsub.Message{Headers: map[string]string{"googclient": "v"}}, pubsub.CodeInvalid},
		"large":            {pubsub.Message{Body: make([]byte, 10_000_001)}, pubsub.CodeTooLarge},
	} {
		if err := p.Publish(ctx, &c.message); pubsub.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want code %s", name, err, c.code)
		}
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"orders.created.v1": "orders.created.v1", "x1": "wb~x1", "1st": "wb~1st", "a/b c": "a%2Fb%20c",
		"google": "wb~google", "Googly": "wb~Googly", "wb~x": "wb~wb~x", "": "wb~", "a%b": "a%25b", "ž": "wb~%C5%BE",
	} {
		if got := gcppubsub.Name(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

func TestRaw(t *testing.T) {
	t.Parallel()
	client, err := pubsub.Open(t.Context(), brokers.GCPPubSub(t).URL)
	must(t, err)
	defer closing(t, client)
	raw, err := client.Raw(t.Context())
	must(t, err)
	if c, ok := raw.(gcppubsub.Client); !ok || c.Project != "waybill-test" {
		t.Errorf("Raw is %T, want a Client", raw)
	}
}
