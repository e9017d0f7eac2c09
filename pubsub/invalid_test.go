package pubsub_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// TestBadInput shows that what makes no sense is an error with a code and a text
// that says what was wrong.
func TestBadInput(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	memoryClient := func(turn func(*driver.Capabilities), options ...pubsub.ClientOption) *pubsub.Client {
		b, err := memory.New(memory.Config{Turn: turn})
		if err != nil {
			t.Fatal(err)
		}
		c, err := pubsub.New(ctx, b, append(options, pubsub.Logger(slog.New(slog.DiscardHandler)))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		return c
	}
	c := memoryClient(nil)
	topic, err := c.Publisher(ctx, "topic")
	if err != nil {
		t.Fatal(err)
	}
	limited, err := memoryClient(func(c *driver.Capabilities) {
		c.MessageBytes, c.Headers, c.HeaderBytes, c.KeyBytes, c.TextHeaders, c.PublishDelay = 100, 2, 20, 10, true, time.Minute
	}).Publisher(ctx, "topic")
	if err != nil {
		t.Fatal(err)
	}
	undelayed, err := memoryClient(memory.LikeKafka).Publisher(ctx, "topic")
	if err != nil {
		t.Fatal(err)
	}
	ordered, err := c.Publisher(ctx, "ordered", pubsub.Ordered())
	if err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscriber(ctx, "topic", pubsub.Group("g"), pubsub.DropPermanent())
	if err != nil {
		t.Fatal(err)
	}
	opens := func(url string) func() error {
		return func() error { _, err := pubsub.Open(ctx, url); return err }
	}
	publisher := func(options ...pubsub.PublisherOption) func() error {
		return func() error { _, err := c.Publisher(ctx, "p", options...); return err }
	}
	subscriber := func(options ...pubsub.SubscriberOption) func() error {
		return func() error { _, err := c.Subscriber(ctx, "s", options...); return err }
	}
	publish := func(to *pubsub.Topic, m *pubsub.Message) func() error {
		return func() error {
			outcome := make(chan error, 1)
			to.PublishAsync(ctx, m, func(err error) { outcome <- err })
			if async := <-outcome; pubsub.CodeOf(async) != pubsub.CodeOf(to.Publish(ctx, m)) {
				t.Errorf("PublishAsync: %v", async)
			}
			return to.Publish(ctx, m)
		}
	}
	headers := func(name, value string) *pubsub.Message {
		return &pubsub.Message{Headers: map[string]string{name: value}}
	}
	g, drop := pubsub.Group("g"), pubsub.DropPermanent()
	for name, bad := range map[string]struct {
		do   func() error
		code pubsub.Code
		text string
	}{
		"URL without scheme":      {opens("localhost"), pubsub.CodeInvalid, "no scheme"},
		"unknown scheme":          {opens("memroy://x"), pubsub.CodeInvalid, `did you mean "memory"`},
		"unparsable URL":          {opens("memory://user:secret@[x"), pubsub.CodeInvalid, "does not parse"},
		"misspelt parameter":      {opens("memory://x?baklog-messages=1"), pubsub.CodeInvalid, `did you mean "backlog-messages"`},
		"parameter twice":         {opens("memory://x?lease=1s&lease=2s"), pubsub.CodeInvalid, "more than once"},
		"parameter of no sense":   {opens("memory://x?lease=soon"), pubsub.CodeInvalid, "a duration such as"},
		"nil driver":              {func() error { _, err := pubsub.New(ctx, nil); return err }, pubsub.CodeInvalid, "driver is nil"},
		"nil client option":       {func() error { _, err := pubsub.Open(ctx, "memory://x", nil); return err }, pubsub.CodeInvalid, "option is nil"},
		"nil logger":              {func() error { _, err := pubsub.Open(ctx, "memory://x", pubsub.Logger(nil)); return err }, pubsub.CodeInvalid, "logger is nil"},
		"observer without a hook": {func() error { _, err := pubsub.Open(ctx, "memory://x", pubsub.Observe(1)); return err }, pubsub.CodeInvalid, "no hook method"},
		"backoff of no sense": {func() error {
			_, err := pubsub.Open(ctx, "memory://x", pubsub.ReconnectBackoff(pubsub.Backoff{Min: time.Hour, Max: 1}))
			return err
		}, pubsub.CodeInvalid, "below Min"},

		"empty topic":            {func() error { _, err := c.Publisher(ctx, ""); return err }, pubsub.CodeInvalid, "topic is empty"},
		"nil publisher option":   {publisher(nil), pubsub.CodeInvalid, "option is nil"},
		"nil publish middleware": {publisher(pubsub.PublishMiddleware(nil)), pubsub.CodeInvalid, "middleware is nil"},
		"negative limit":         {publisher(pubsub.PublishLimit(-1, 0)), pubsub.CodeInvalid, "negative"},
		"negative batch":         {publisher(pubsub.PublishBatch(pubsub.Batch{Messages: -1})), pubsub.CodeInvalid, "negative"},
		"strange setting":        {publisher(pubsub.Settings(7)), pubsub.CodeInvalid, "type int"},
		"strange topology":       {publisher(pubsub.Topology(9)), pubsub.CodeInvalid, "topology 9"},

		"empty topic to read":     {func() error { _, err := c.Subscriber(ctx, "", drop); return err }, pubsub.CodeInvalid, "topic is empty"},
		"poison unsaid":           {subscriber(g), pubsub.CodeInvalid, "say what becomes of messages"},
		"poison said twice":       {subscriber(g, drop, pubsub.NativeDeadLetter("d", 0)), pubsub.CodeInvalid, "NativeDeadLetter and DropPermanent: only one"},
		"empty group":             {subscriber(pubsub.Group(""), drop), pubsub.CodeInvalid, "group name is empty"},
		"queue with a group":      {subscriber(g, pubsub.Queue(), drop), pubsub.CodeInvalid, "a queue has no groups"},
		"neither group nor all":   {subscriber(drop), pubsub.CodeInvalid, "say who reads: a Group, whose members share the messages and miss none, or Broadcast"},
		"group and broadcast":     {subscriber(g, pubsub.Broadcast(), drop), pubsub.CodeInvalid, `Group("g") and Broadcast contradict each other`},
		"broadcast of a queue":    {subscriber(pubsub.Broadcast(), pubsub.Queue(), drop), pubsub.CodeInvalid, "leave out Broadcast, or Queue"},
		"no concurrency":          {subscriber(g, drop, pubsub.Concurrency(0)), pubsub.CodeInvalid, "at least 1"},
		"no attempts":             {subscriber(g, drop, pubsub.MaxAttempts(0)), pubsub.CodeInvalid, "at least 1"},
		"no drain":                {subscriber(g, drop, pubsub.DrainTimeout(0)), pubsub.CodeInvalid, "positive"},
		"dead letter into itself": {subscriber(g, pubsub.NativeDeadLetter("s", 0)), pubsub.CodeInvalid, "into itself"},
		"middleware into itself": {func() error {
			own, err := c.Publisher(ctx, "s")
			if err != nil {
				return err
			}
			through := func(next pubsub.Handler) pubsub.Handler { return next }
			return subscriber(g, pubsub.DeadLetterMiddleware{Middleware: through, Publisher: own})()
		}, pubsub.CodeInvalid, "into itself"},
		"native limit comes first":  {subscriber(g, pubsub.NativeDeadLetter("d", 3), pubsub.MaxAttempts(5)), pubsub.CodeInvalid, "comes before"},
		"nil middleware":            {subscriber(g, drop, pubsub.Middleware(nil)), pubsub.CodeInvalid, "middleware is nil"},
		"nil dead letter":           {subscriber(g, pubsub.DeadLetterMiddleware{}), pubsub.CodeInvalid, "dead-letter middleware is nil"},
		"nil handler":               {func() error { return sub.Receive(ctx, nil) }, pubsub.CodeInvalid, "handler is nil"},
		"nil batch handler":         {func() error { return sub.ReceiveBatch(ctx, pubsub.BatchPolicy{}, nil) }, pubsub.CodeInvalid, "handler is nil"},
		"typed handler without one": {func() error { return sub.Receive(ctx, pubsub.Typed[string](codec.Text(), nil)) }, pubsub.CodeInvalid, "handler is nil"},
		"batch beyond in flight": {func() error {
			return sub.ReceiveBatch(ctx, pubsub.BatchPolicy{Messages: 5000}, func(context.Context, []*pubsub.Delivery) []error { return nil })
		}, pubsub.CodeInvalid, "more than InFlight"},
		"route without a subscription": {func() error { return pubsub.Serve(ctx, pubsub.Route{}) }, pubsub.CodeInvalid, "no subscription"},
		"no route":                     {func() error { return pubsub.Serve(ctx) }, pubsub.CodeInvalid, "Handle"},
		"backlog of no group":          {func() error { _, err := c.Backlog(ctx, "topic", ""); return err }, pubsub.CodeInvalid, "a group"},

		"nil message":             {publish(topic, nil), pubsub.CodeInvalid, "message is nil"},
		"reserved header":         {publish(topic, headers("waybill-x", "")), pubsub.CodeInvalid, "the library's own"},
		"empty header name":       {publish(topic, headers("", "x")), pubsub.CodeInvalid, "header name is empty"},
		"header name not UTF-8":   {publish(topic, headers("\xff", "x")), pubsub.CodeInvalid, "valid UTF-8"},
		"header value not UTF-8":  {publish(limited, headers("h", "\xff")), pubsub.CodeInvalid, "takes text alone"},
		"large body":              {publish(limited, &pubsub.Message{Body: make([]byte, 101)}), pubsub.CodeTooLarge, "store the body elsewhere"},
		"large header":            {publish(limited, headers("h", strings.Repeat("x", 30))), pubsub.CodeTooLarge, `header "h" has 31 bytes`},
		"many headers":            {publish(limited, &pubsub.Message{Headers: map[string]string{"a": "", "b": "", "c": ""}}), pubsub.CodeTooLarge, "3 headers"},
		"long key":                {publish(limited, &pubsub.Message{Key: strings.Repeat("k", 11)}), pubsub.CodeTooLarge, "key has 11 bytes"},
		"no delay":                {publish(undelayed, &pubsub.Message{Delay: time.Hour}), pubsub.CodeUnsupported, "cannot delay messages; leave Delay out"},
		"long delay":              {publish(limited, &pubsub.Message{Delay: time.Hour}), pubsub.CodeUnsupported, "its longest delay is 1m0s"},
		"negative delay":          {publish(topic, &pubsub.Message{Delay: -1}), pubsub.CodeInvalid, "negative"},
		"delay of an ordered key": {publish(ordered, &pubsub.Message{Key: "k", Delay: 1}), pubsub.CodeInvalid, "leave out Key or Delay"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := bad.do()
			if err == nil || pubsub.CodeOf(err) != bad.code || !strings.Contains(err.Error(), bad.text) {
				t.Errorf("got %v (%s), want %q (%s)", err, pubsub.CodeOf(err), bad.text, bad.code)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestTypedFailures(t *testing.T) {
	t.Parallel()
	h := pubsub.Typed(codec.JSON[int](), func(context.Context, int, *pubsub.Delivery) error { return nil })
	err := h(t.Context(), &pubsub.Delivery{Message: pubsub.Message{Body: []byte("x")}})
	if v, _ := pubsub.VerdictOf(err); v != pubsub.VerdictPermanent {
		t.Errorf("a failed decode: %v, want permanent", err)
	}
	p := pubsub.TypedPublisher[chan int]{Publisher: &pubsub.Topic{}, Codec: codec.JSON[chan int]()}
	if err := p.Publish(t.Context(), nil, nil); pubsub.CodeOf(err) != pubsub.CodeFailed {
		t.Errorf("a failed encode: %v", err)
	}
	p.PublishAsync(t.Context(), nil, func(err error) {
		if pubsub.CodeOf(err) != pubsub.CodeFailed {
			t.Errorf("a failed encode: %v", err)
		}
	})
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	wrapped := errors.Join(errors.New("context"), pubsub.RetryAfter(time.Minute, nil))
	for _, c := range []struct {
		err     error
		verdict pubsub.Verdict
		delay   time.Duration
	}{
		{nil, pubsub.VerdictDone, -1}, {errBoom, pubsub.VerdictRetry, -1}, {wrapped, pubsub.VerdictRetry, time.Minute},
		{pubsub.RetryAfter(-time.Second, errBoom), pubsub.VerdictRetry, 0}, {pubsub.Permanent(nil), pubsub.VerdictDone, -1},
		{pubsub.Permanent(pubsub.RetryAfter(1, errBoom)), pubsub.VerdictPermanent, -1}, {pubsub.Drop(errBoom), pubsub.VerdictDrop, -1},
	} {
		if v, d := pubsub.VerdictOf(c.err); v != c.verdict || d != c.delay {
			t.Errorf("%v: %s after %v, want %s after %v", c.err, v, d, c.verdict, c.delay)
		}
	}
}

func FuzzBackoff(f *testing.F) {
	f.Add(int64(1), int64(2), 2.0, 0.5, 3)
	f.Fuzz(func(t *testing.T, least, most int64, factor, jitter float64, attempts int) {
		b := pubsub.Backoff{Min: time.Duration(least), Max: time.Duration(most), Factor: factor, Jitter: jitter}
		if b.Validate() != nil {
			return
		}
		if d := b.Delay(attempts); d < 0 || most > 0 && d > time.Duration(most) {
			t.Fatalf("%+v after %d: %v", b, attempts, d)
		}
	})
}
