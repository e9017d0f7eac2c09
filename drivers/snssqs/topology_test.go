package snssqs_test

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// raw is Amazon's own clients on the emulator, as the driver has them. The SDK's own would
// now and then ask twice, and what the first of two receives got would be hidden.
type raw struct {
	t   *testing.T
	sqs *sqs.Client
	sns *sns.Client
}

func rawClients(t *testing.T, address string) *raw {
	t.Helper()
	conn, err := drive(t, address).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	c := conn.(driver.Revealer).Client().(*snssqs.Client)
	return &raw{t, c.SQS, c.SNS}
}

func (r *raw) queue(name string, attributes map[string]string) string {
	r.t.Helper()
	out, err := r.sqs.CreateQueue(r.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		r.t.Fatal(err)
	}
	return *out.QueueUrl
}

// address is a queue's URL.
func (r *raw) address(name string) string {
	r.t.Helper()
	u, err := r.sqs.GetQueueUrl(r.t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		r.t.Fatalf("queue %s: %v", name, err)
	}
	return *u.QueueUrl
}

func (r *raw) attributes(name string) map[string]string {
	r.t.Helper()
	out, err := r.sqs.GetQueueAttributes(r.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: aws.String(r.address(name)), AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.Attributes
}

func wantError(t *testing.T, err error, code pubsub.Code, words ...string) {
	t.Helper()
	if err == nil || pubsub.CodeOf(err) != code {
		t.Errorf("got error %v (code %s), want code %s", err, pubsub.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestCreates(t *testing.T) {
	t.Parallel()
	address := start(t)
	c, r, topic := client(t, address+"&retention=2h"), rawClients(t, address), unique("made")
	_, err := c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.NativeDeadLetter(topic+"-dead", 5),
		pubsub.Settings(snssqs.Settings{KMSKey: "alias/mine"}))
	if err != nil {
		t.Fatal(err)
	}
	got := r.attributes(topic + "-g")
	if got["MessageRetentionPeriod"] != "7200" || got["KmsMasterKeyId"] != "alias/mine" ||
		!strings.Contains(got["Policy"], ":"+topic+`"`) || !strings.Contains(got["RedrivePolicy"], topic+"-dead") {
		t.Errorf("queue has %v", got)
	}
	if kept := r.attributes(topic + "-dead")["MessageRetentionPeriod"]; kept != "7200" {
		t.Errorf("dead letters are kept for %s s", kept)
	}
	if _, err := client(t, address).Subscriber(t.Context(), topic+"-kept", pubsub.Queue(), pubsub.NativeDeadLetter(topic+"-kept-dead", 5)); err != nil {
		t.Fatal(err)
	}
	// What SQS moves is as old as it was.
	if kept, dead := r.attributes(topic + "-kept")["MessageRetentionPeriod"], r.attributes(topic + "-kept-dead")["MessageRetentionPeriod"]; kept != "345600" || dead != "1209600" {
		t.Errorf("messages are kept for %s s, dead letters for %s s", kept, dead)
	}
	_, err = c.Subscriber(t.Context(), topic, pubsub.Group("named"), pubsub.DropPermanent(), pubsub.Settings(snssqs.Settings{QueueName: topic + "-other"}))
	if err != nil {
		t.Fatal(err)
	}
	r.attributes(topic + "-other")
}

func TestRefusesWhatDiffers(t *testing.T) {
	t.Parallel()
	address := start(t)
	c, r, topic := client(t, address), rawClients(t, address), unique("differs")
	if _, err := c.Publisher(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	open := func(group string, options ...pubsub.SubscriberOption) error {
		_, err := c.Subscriber(t.Context(), topic, append([]pubsub.SubscriberOption{pubsub.Group(group)}, options...)...)
		return err
	}
	strange := `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:us-east-1:000000000000:other"}}}]}`
	r.queue(topic+"-closed", map[string]string{"Policy": strange})
	wantError(t, open("closed", pubsub.DropPermanent()), pubsub.CodeConflict, topic+"-closed", "does not let", topic)

	r.queue(topic+"-none", nil)
	wantError(t, open("none", pubsub.DropPermanent(), pubsub.Topology(pubsub.Verify)), pubsub.CodeConflict, "does not let")
	if err := open("none", pubsub.DropPermanent()); err != nil {
		t.Errorf("a policy that is missing is not added: %v", err)
	}

	dead := r.queue(topic+"-dead", nil)
	_ = dead
	redrive := func(n int) map[string]string {
		return map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:` + topic + `-dead","maxReceiveCount":"` + strconv.Itoa(n) + `"}`}
	}
	r.queue(topic+"-early", redrive(3))
	wantError(t, open("early", pubsub.NativeDeadLetter(topic+"-dead", 5)), pubsub.CodeConflict, "after 3 receipts", "5 attempts")
	r.queue(topic+"-late", redrive(7))
	if err := open("late", pubsub.NativeDeadLetter(topic+"-dead", 5)); err != nil {
		t.Errorf("a redrive policy that comes later is refused: %v", err)
	}

	r.queue(topic+"-kept", map[string]string{"MessageRetentionPeriod": "60"})
	wantError(t, open("kept", pubsub.DropPermanent(), pubsub.Settings(snssqs.Settings{Retention: time.Hour})), pubsub.CodeConflict, "MessageRetentionPeriod", "60", "3600")

	r.queue(topic+"-kind.fifo", map[string]string{"FifoQueue": "true"})
	wantError(t, open("kind", pubsub.DropPermanent()), pubsub.CodeConflict, topic+"-kind.fifo", "FIFO")
	wantError(t, open("name", pubsub.DropPermanent(), pubsub.Settings(snssqs.Settings{QueueName: "x.fifo"})), pubsub.CodeConflict, "x.fifo", "FIFO")

	wantError(t, open("missing", pubsub.DropPermanent(), pubsub.Topology(pubsub.Verify)), pubsub.CodeNotFound, topic+"-missing")

	// A subscription without raw delivery.
	r.queue(topic+"-enveloped", nil)
	arn := "arn:aws:sns:us-east-1:000000000000:" + topic
	if _, err := r.sns.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &arn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:" + topic + "-enveloped")}); err != nil {
		t.Fatal(err)
	}
	wantError(t, open("enveloped", pubsub.DropPermanent()), pubsub.CodeConflict, "RawMessageDelivery")

	// A queue that is not subscribed.
	if err := open("apart", pubsub.DropPermanent()); err != nil {
		t.Fatal(err)
	}
	subs, err := r.sns.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &arn})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subs.Subscriptions {
		if strings.HasSuffix(*s.Endpoint, "-apart") {
			if _, err := r.sns.Unsubscribe(t.Context(), &sns.UnsubscribeInput{SubscriptionArn: s.SubscriptionArn}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantError(t, open("apart", pubsub.DropPermanent(), pubsub.Topology(pubsub.Verify)), pubsub.CodeNotFound, topic+"-apart", "not subscribed")

	// Groups whose names run together are not taken for one another.
	if _, err := c.Subscriber(t.Context(), topic+"-a", pubsub.Group("b"), pubsub.DropPermanent()); err != nil {
		t.Fatal(err)
	}
	wantError(t, open("a-b", pubsub.DropPermanent()), pubsub.CodeConflict, topic+"-a-b", "does not let")
}

// TestAssume neither makes nor looks: what is missing shows in use.
func TestAssume(t *testing.T) {
	t.Parallel()
	c, name := client(t, start(t)), unique("assumed")
	out, err := c.Publisher(t.Context(), name, pubsub.Queue(), pubsub.Topology(pubsub.Assume))
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, out.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}), pubsub.CodeNotFound, name)
	s, err := c.Subscriber(t.Context(), name, pubsub.Queue(), pubsub.DropPermanent(), pubsub.Topology(pubsub.Assume))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Publisher(t.Context(), name, pubsub.Queue()); err != nil { // makes it
		t.Fatal(err)
	}
	if err := out.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	err = s.Receive(ctx, func(context.Context, *pubsub.Delivery) error { cancel(); return nil })
	if err != nil {
		t.Error(err)
	}
}

// TestBroadcastLeavesNothing: the temporary queue goes with its subscription, and one
// that a crash left behind is swept away by the next.
func TestBroadcastLeavesNothing(t *testing.T) {
	t.Parallel()
	address := start(t)
	c, r, topic := client(t, address), rawClients(t, address), unique("cast")
	prefix := topic + "-broadcast-"
	queues := func() []string {
		out, err := r.sqs.ListQueues(t.Context(), &sqs.ListQueuesInput{QueueNamePrefix: &prefix})
		if err != nil {
			t.Fatal(err)
		}
		return out.QueueUrls
	}
	out, err := c.Publisher(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	arn := aws.String("arn:aws:sns:us-east-1:000000000000:" + topic)
	old := r.queue(prefix+"crashed", nil)
	// It crashed before it had noted its subscription.
	if _, err := r.sns.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: arn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:" + prefix + "crashed")}); err != nil {
		t.Fatal(err)
	}
	fresh := r.queue(prefix+"alive", nil)
	tag := func(queue string, age time.Duration) {
		_, err := r.sqs.TagQueue(t.Context(), &sqs.TagQueueInput{QueueUrl: &queue, Tags: map[string]string{"waybill-heartbeat": strconv.FormatInt(time.Now().Add(-age).Unix(), 10)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	tag(old, time.Hour)
	tag(fresh, time.Minute)
	s, err := c.Subscriber(t.Context(), topic, pubsub.Broadcast(), pubsub.DropPermanent())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	got := make(chan string, 100)
	go func() {
		ended <- s.Receive(ctx, func(_ context.Context, d *pubsub.Delivery) error {
			got <- string(d.Body)
			return nil
		})
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for heard := false; !heard; {
		if err := out.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-got:
			heard = true
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("nothing was heard")
		}
	}
	now := strings.Join(queues(), " ")
	if strings.Contains(now, "crashed") || !strings.Contains(now, "alive") || len(queues()) != 2 {
		t.Errorf("temporary queues: %s", now)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left := queues(); len(left) != 1 || !strings.HasSuffix(left[0], "alive") {
		t.Errorf("after the subscription closed: %v", left)
	}
	subs, err := r.sns.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: arn})
	if err != nil || len(subs.Subscriptions) > 0 {
		t.Errorf("subscriptions left: %v, error %v", subs, err)
	}
}

// TestTopicByARN: a topic that exists under another name, as that of another account.
func TestTopicByARN(t *testing.T) {
	t.Parallel()
	address := start(t)
	c, r, name := client(t, address), rawClients(t, address), unique("by-arn")
	made, err := r.sns.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name})
	if err != nil {
		t.Fatal(err)
	}
	settings := pubsub.Settings(snssqs.Settings{TopicARN: *made.TopicArn})
	s, err := c.Subscriber(t.Context(), "orders", pubsub.Group("g"), pubsub.DropPermanent(), settings,
		pubsub.Settings(snssqs.Settings{QueueName: name + "-g"}))
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Publisher(t.Context(), "orders", settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Publish(t.Context(), &pubsub.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Receive(ctx, func(context.Context, *pubsub.Delivery) error { cancel(); return nil }); err != nil || ctx.Err() == context.DeadlineExceeded {
		t.Errorf("%v, %v", err, ctx.Err())
	}
	for arn, words := range map[string][]string{
		"orders":                               {"topic ARN", "want one such as"},
		"arn:aws:sqs:us-east-1:000000000000:t": {"topic ARN", "want one such as"},
		"arn:aws:sns:eu-west-1:000000000000:" + name:              {"another region", "eu-west-1", "us-east-1"},
		"arn:aws:sns:us-east-1:000000000000:" + name + "-missing": {name + "-missing", "does not exist"},
		"arn:aws:sns:us-east-1:000000000000:" + name + ".fifo":    {"FIFO"},
	} {
		_, err := c.Publisher(t.Context(), "orders", pubsub.Settings(snssqs.Settings{TopicARN: arn}))
		code := pubsub.CodeInvalid
		switch words[len(words)-1] {
		case "does not exist":
			code = pubsub.CodeNotFound
		case "FIFO":
			code = pubsub.CodeConflict
		}
		wantError(t, err, code, words...)
	}
}

// TestTopicThatTakesLess: a topic that others made may take less in a message and in a batch
// than Amazon does at most.
func TestTopicThatTakesLess(t *testing.T) {
	t.Parallel()
	p, address := behind(t, start(t))
	c, r, topic := client(t, address), rawClients(t, address), unique("less")
	if _, err := r.sns.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &topic, Attributes: map[string]string{"MaximumMessageSize": "2048"}}); err != nil {
		t.Fatal(err)
	}
	out, err := c.Publisher(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, out.Publish(t.Context(), &pubsub.Message{Body: make([]byte, 2048)}), pubsub.CodeTooLarge, "2048")
	for range 6 {
		out.PublishAsync(t.Context(), &pubsub.Message{Body: bytes.Repeat([]byte("x"), 1000)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := out.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := p.count("PublishBatch"); n < 3 {
		t.Errorf("%d requests for 6000 bytes", n)
	}
}

// TestTags: what is created has the tags that were asked for.
func TestTags(t *testing.T) {
	t.Parallel()
	address := start(t)
	c, r, topic := client(t, address), rawClients(t, address), unique("tagged")
	_, err := c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent(),
		pubsub.Settings(snssqs.Settings{Tags: map[string]string{"team": "billing"}}))
	if err != nil {
		t.Fatal(err)
	}
	queue, err := r.sqs.ListQueueTags(t.Context(), &sqs.ListQueueTagsInput{QueueUrl: aws.String(r.address(topic + "-g"))})
	if err != nil || queue.Tags["team"] != "billing" {
		t.Errorf("queue's tags: %v, error %v", queue, err)
	}
	on, err := r.sns.ListTagsForResource(t.Context(), &sns.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:sns:us-east-1:000000000000:" + topic)})
	if err != nil || len(on.Tags) != 1 || *on.Tags[0].Key != "team" || *on.Tags[0].Value != "billing" {
		t.Errorf("topic's tags: %v, error %v", on, err)
	}
}

// TestUndelivered: SNS is told where to put what it cannot deliver. (The emulator's SNS keeps
// the policy, and has no dead letters.)
func TestUndelivered(t *testing.T) {
	t.Parallel()
	address := start(t)
	c, r, topic := client(t, address), rawClients(t, address), unique("lost")
	open := func(name string, options ...pubsub.SubscriberOption) error {
		options = append(options, pubsub.Group("g"), pubsub.DropPermanent(), pubsub.Settings(snssqs.Settings{UndeliveredQueue: name}))
		_, err := c.Subscriber(t.Context(), topic, options...)
		return err
	}
	if _, err := c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent()); err != nil {
		t.Fatal(err)
	}
	wantError(t, open(topic+"-lost", pubsub.Topology(pubsub.Verify)), pubsub.CodeNotFound, topic+"-lost")
	if err := open(topic + "-lost"); err != nil {
		t.Fatal(err)
	}
	if err := open(topic+"-lost", pubsub.Topology(pubsub.Verify)); err != nil {
		t.Errorf("verify: %v", err)
	}
	if policy := r.attributes(topic + "-lost")["Policy"]; !strings.Contains(policy, ":"+topic+`"`) {
		t.Errorf("policy %q does not let the topic in", policy)
	}
	wantError(t, open(topic+"-elsewhere"), pubsub.CodeConflict, "RedrivePolicy", topic+"-lost", topic+"-elsewhere")
	wantError(t, open(topic+".fifo"), pubsub.CodeConflict, "FIFO")
	_, err := c.Subscriber(t.Context(), topic+"-queue", pubsub.Queue(), pubsub.DropPermanent(), pubsub.Settings(snssqs.Settings{UndeliveredQueue: "u"}))
	wantError(t, err, pubsub.CodeInvalid, "only a group")
}

// TestLosesNothingInSilence: what SNS would take and lose, or refuse later, is refused at opening.
func TestLosesNothingInSilence(t *testing.T) {
	t.Parallel()
	address := start(t)
	c, r, topic := client(t, address), rawClients(t, address), unique("silent")
	key := pubsub.Settings(snssqs.Settings{KMSKey: "alias/aws/sqs"})
	if _, err := c.Publisher(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	r.queue(topic+"-g", map[string]string{"KmsMasterKeyId": "alias/aws/sqs"})
	_, err := c.Subscriber(t.Context(), topic, pubsub.Group("g"), pubsub.DropPermanent())
	wantError(t, err, pubsub.CodeConflict, topic+"-g", "alias/aws/sqs", "sns.amazonaws.com")
	_, err = c.Subscriber(t.Context(), topic+"-other", pubsub.Group("g"), pubsub.DropPermanent(), key)
	wantError(t, err, pubsub.CodeInvalid, "alias/aws/sqs", "sns.amazonaws.com")
	if _, err := c.Publisher(t.Context(), topic+"-queue", pubsub.Queue(), key); err != nil {
		t.Errorf("a queue alone may have that key: %v", err)
	}
	r.queue(topic+"-small", map[string]string{"MaximumMessageSize": "1024"})
	_, err = c.Subscriber(t.Context(), topic, pubsub.Group("small"), pubsub.DropPermanent())
	wantError(t, err, pubsub.CodeConflict, topic+"-small", "1024", "262144", "MaximumMessageSize")
	if _, err := c.Publisher(t.Context(), topic+"-fifo", pubsub.Ordered()); err != nil {
		t.Fatal(err)
	}
	_, err = c.Publisher(t.Context(), topic+"-fifo", pubsub.Ordered(), pubsub.Settings(snssqs.Settings{ContentDeduplication: true}))
	wantError(t, err, pubsub.CodeConflict, topic+"-fifo", "ContentBasedDeduplication")
}
