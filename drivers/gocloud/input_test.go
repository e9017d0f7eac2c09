package gocloud_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	cloud "gocloud.dev/pubsub"

	"github.com/waybill-go/waybill/drivers/gocloud"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

func TestWrongURLs(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"gocloud://":                             "no URL is given",
		"gocloud://host?topic=mem://t":           "want gocloud://?topic=",
		"gocloud://?topic=mem://t&goup=mem://t":  `did you mean "group"?`,
		"gocloud://?topic=mem://{tpoic}":         "{tpoic} stands for nothing",
		"gocloud://?topic=mem://{topic}-{group}": "{group} stands for nothing",
		"gocloud://?topic=nats://{topic}":        `no gocloud.dev driver of scheme "nats" is linked in`,
		"gocloud://?topic=orders":                "no gocloud.dev driver of scheme",
		"gocloud://?topic=mem://t&hold=soon":     "want a duration",
	} {
		_, err := driver.FromURL(address)
		if err == nil || !strings.Contains(err.Error(), want) || driver.CodeOf(err) != driver.CodeInvalid {
			t.Errorf("%s: got %v; want invalid, with %q", address, err, want)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"", "?topic=mem://{topic}", "?topic=mem://{", "?group=mem://{group}&hold=1s", "//?x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		d, err := driver.FromURL("gocloud://" + rest)
		if err != nil && driver.CodeOf(err) != driver.CodeInvalid || err == nil && d == nil {
			t.Errorf("%q: %v, %v", rest, d, err)
		}
	})
}

const inMemory = "gocloud://?topic=mem://{topic}&group=mem://{topic}&queue=mem://{topic}"

// What gocloud.dev cannot do is refused when opening, by name.
func TestRefused(t *testing.T) {
	t.Parallel()
	c := client(t, inMemory)
	assume := pubsub.Topology(pubsub.Assume)
	for what, open := range map[string]func() error{
		"cannot create a topology": func() error { _, err := c.Publisher(t.Context(), "t"); return err },
		"cannot verify a topology": func() error {
			_, err := c.Publisher(t.Context(), "t", pubsub.Topology(pubsub.Verify))
			return err
		},
		"cannot keep the order": func() error { _, err := c.Publisher(t.Context(), "t", assume, pubsub.Ordered()); return err },
		"cannot broadcast": func() error {
			_, err := c.Subscriber(t.Context(), "t", assume, pubsub.Broadcast(), pubsub.DropPermanent())
			return err
		},
		"cannot dead-letter": func() error {
			_, err := c.Subscriber(t.Context(), "t", assume, pubsub.Group("g"), pubsub.NativeDeadLetter("dead", 0))
			return err
		},
	} {
		if err := open(); err == nil || !strings.Contains(err.Error(), what) || pubsub.CodeOf(err) != pubsub.CodeUnsupported {
			t.Errorf("got %v; want unsupported, with %q", err, what)
		}
	}
}

// A file's settings, and code's, put URLs in place of the driver's.
func TestSettings(t *testing.T) {
	t.Parallel()
	c := client(t, inMemory)
	made, err := driver.TopicSettings("gocloud", map[string]string{"url": "mem://elsewhere"})
	must(t, err)
	_, err = c.Publisher(t.Context(), "settings", pubsub.Topology(pubsub.Assume), pubsub.Settings(made...))
	must(t, err)
	made, err = driver.SubscriptionSettings("gocloud", map[string]string{"url": "mem://nowhere"})
	must(t, err)
	_, err = c.Subscriber(t.Context(), "settings", pubsub.Topology(pubsub.Assume), pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Settings(made...))
	if err == nil || !strings.Contains(err.Error(), `no topic "nowhere"`) {
		t.Errorf("got %v; want that of the setting's URL", err)
	}
	made[0] = gocloud.Settings{Subscription: "mem://elsewhere"}
	_, err = c.Subscriber(t.Context(), "settings", pubsub.Topology(pubsub.Assume), pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Settings(made...))
	must(t, err)
}

// telltale fails as drivers of gocloud.dev's do that repeat the URL they dialled.
type telltale struct{}

func (telltale) OpenTopicURL(context.Context, *url.URL) (*cloud.Topic, error) {
	return nil, errors.New(`failed to dial SERVER_URL "amqp://guest:s3cr/et@localhost:5672/": refused`)
}

func TestNoSecretsInErrors(t *testing.T) {
	t.Parallel()
	var mux cloud.URLMux
	mux.RegisterTopic("tell", telltale{})
	d, err := gocloud.New(gocloud.Config{Connect: gocloud.URLs{Topic: "tell://{topic}", Mux: &mux}.Connect})
	must(t, err)
	c, err := pubsub.New(t.Context(), d)
	must(t, err)
	_, err = c.Publisher(t.Context(), "t", pubsub.Topology(pubsub.Assume))
	if err == nil || strings.Contains(err.Error(), "s3cr") || !strings.Contains(err.Error(), "localhost:5672/\": refused") || pubsub.CodeOf(err) != pubsub.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	must(t, c.Close(t.Context()))
}
