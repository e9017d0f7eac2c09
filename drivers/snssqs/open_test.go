package snssqs_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// alone has nothing of Amazon's in the environment.
func alone(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestNoRegion(t *testing.T) {
	alone(t)
	_, err := pubsub.Open(t.Context(), "snssqs://?access-key=AKEY&secret-key=SECRET")
	wantError(t, err, pubsub.CodeInvalid, "no region", "AWS_REGION")
}

func TestNoCredentials(t *testing.T) {
	alone(t)
	_, err := pubsub.Open(t.Context(), "snssqs://eu-west-1?endpoint=http://127.0.0.1:1")
	wantError(t, err, pubsub.CodeUnauthenticated, "no credentials", "AWS_ACCESS_KEY_ID")
}

// What the SDK would write to standard error beside our error is kept from there.
func TestNoCredentialsIsSaidOnce(t *testing.T) {
	alone(t)
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer metadata.Close()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
	file, err := os.Create(t.TempDir() + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stderr := os.Stderr
	os.Stderr = file
	_, err = pubsub.Open(t.Context(), "snssqs://eu-west-1?endpoint=http://127.0.0.1:1")
	os.Stderr = stderr
	wantError(t, err, pubsub.CodeUnauthenticated, "no credentials")
	if text, err := os.ReadFile(file.Name()); err != nil || len(text) > 0 {
		t.Errorf("on standard error: %s, error %v", text, err)
	}
}

func TestEnvironment(t *testing.T) {
	url := start(t)
	alone(t)
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	_, query, _ := strings.Cut(strings.Replace(url, "&access-key=test&secret-key=test", "", 1), "?")
	c := client(t, "snssqs://?"+query)
	if _, err := c.Publisher(t.Context(), unique("env"), pubsub.Queue()); err != nil {
		t.Error(err)
	}
}

func TestRawClients(t *testing.T) {
	t.Parallel()
	own, err := client(t, start(t)).Raw(t.Context())
	if c, ok := own.(*snssqs.Client); err != nil || !ok || c.SNS == nil || c.SQS == nil {
		t.Errorf("got %T, error %v", own, err)
	}
}

func TestBrokerIsAway(t *testing.T) {
	t.Parallel()
	_, err := pubsub.Open(t.Context(), "snssqs://eu-west-1?endpoint=http://127.0.0.1:1&access-key=AKEY&secret-key=SECRET")
	wantError(t, err, pubsub.CodeUnavailable, "sqs:ListQueues")
	if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "AKEY") {
		t.Errorf("error repeats credentials: %v", err)
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for url, word := range map[string]string{
		"snssqs://eu-west-1?waiting=1s":                             `"wait"`,
		"snssqs://eu-west-1?wait=30s":                               "1s to 20s",
		"snssqs://eu-west-1?wait=1500ms":                            "whole seconds",
		"snssqs://eu-west-1?message-bytes=2000000":                  "message-bytes",
		"snssqs://eu-west-1?retention=1s":                           "retention",
		"snssqs://eu-west-1?account=12":                             "twelve digits",
		"snssqs://eu-west-1?endpoint=localhost:4566":                "want a URL such as http://localhost:4566",
		"snssqs://eu-west-1?access-key=AKEY":                        "go together",
		"snssqs://eu-west-1?secret-key=SECRET&session-token=SECRET": "go together",
		"snssqs://eu-west-1/queue":                                  "nothing else",
		"snssqs://user:SECRET@eu-west-1":                            "nothing else",
		"snssqs://eu-west-1?access-key=AKEY&secret-key=SECRET&x=y":  `"x"`,
	} {
		_, err := driver.FromURL(url)
		wantError(t, err, pubsub.CodeInvalid, word)
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("error repeats a secret: %v", err)
		}
	}
	for _, c := range []snssqs.Config{
		{Wait: -time.Second}, {Parallel: -1}, {MessageBytes: 1}, {Settings: snssqs.Settings{QueueName: "q"}}, {Settings: snssqs.Settings{Retention: time.Second}},
	} {
		if _, err := snssqs.New(c); pubsub.CodeOf(err) != pubsub.CodeInvalid {
			t.Errorf("%+v: error %v", c, err)
		}
	}
}

func TestSettingsOfAFile(t *testing.T) {
	t.Parallel()
	got, err := driver.TopicSettings("snssqs", map[string]string{"topic-arn": "arn:aws:sns:eu-west-1:123456789012:t", "retention": "1h", "kms-key": "k", "fair-queues": "true"})
	want := snssqs.Settings{TopicARN: "arn:aws:sns:eu-west-1:123456789012:t", Retention: time.Hour, KMSKey: "k", FairQueues: true}
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("topic: %+v, error %v", got, err)
	}
	got, err = driver.SubscriptionSettings("snssqs", map[string]string{"queue-name": "q", "undelivered-queue": "u"})
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], snssqs.Settings{QueueName: "q", UndeliveredQueue: "u"}) {
		t.Errorf("subscription: %+v, error %v", got, err)
	}
	_, err = driver.SubscriptionSettings("snssqs", map[string]string{"queue-nam": "q"})
	wantError(t, err, pubsub.CodeInvalid, "queue-name")
}

func TestBadMessages(t *testing.T) {
	t.Parallel()
	c := client(t, start(t))
	out, err := c.Publisher(t.Context(), unique("bad"), pubsub.Queue())
	if err != nil {
		t.Fatal(err)
	}
	// Binary bodies grow by a third.
	body := make([]byte, 250_000)
	wantError(t, out.Publish(t.Context(), &pubsub.Message{Body: body}), pubsub.CodeTooLarge, "262144")
	_, err = c.Publisher(t.Context(), "orders.fifo")
	wantError(t, err, pubsub.CodeInvalid, "orders.fifo", "ordered")
}
