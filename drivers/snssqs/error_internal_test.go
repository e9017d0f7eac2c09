package snssqs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// amazon is a server that answers as Amazon does. What handles a request says whether it did.
func amazon(t *testing.T, handle func(action string, w http.ResponseWriter, r *http.Request) bool) (*conn, Config) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
		if action == "" {
			_, rest, _ := strings.Cut(string(body), "Action=")
			action, _, _ = strings.Cut(rest, "&")
		}
		if handle(action, w, r) {
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(s.Close)
	config := Config{Region: "eu-west-1", Endpoint: s.URL, Credentials: credentials.NewStaticCredentialsProvider("AKEY", "SECRET", "")}
	return connected(t, config), config
}

func connected(t *testing.T, config Config) *conn {
	t.Helper()
	d, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c.(*conn)
}

// refuse answers with an error, in the protocol of the request. query is what SQS names it
// beside its shape, where that differs.
func refuse(w http.ResponseWriter, r *http.Request, status int, name, query, text string) {
	if r.Header.Get("X-Amz-Target") != "" {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		if query != "" {
			w.Header().Set("X-Amzn-Query-Error", query+";Sender")
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"__type":"com.amazonaws.sqs#%s","message":%q}`, name, text)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, name, text)
}

// TestErrorsOfAmazon: each error as Amazon words it, through the SDK. SQS has two names for
// many, and an entry of a batch has another way to fail.
func TestErrorsOfAmazon(t *testing.T) {
	t.Parallel()
	const own = "AWS.SimpleQueueService."
	for _, e := range []struct {
		name, query string // query: of SQS; "-": the error is of SNS
		status      int
		text        string
		want        driver.Code
		heals       bool
	}{
		{"QueueDoesNotExist", own + "NonExistentQueue", 400, "The specified queue does not exist.", driver.CodeNotFound, false},
		{"QueueDoesNotExist", "", 400, "", driver.CodeNotFound, false},
		{"ResourceNotFoundException", "", 404, "", driver.CodeNotFound, false},
		{"QueueNameExists", "QueueAlreadyExists", 400, "A queue already exists with the same name and a different value for attribute", driver.CodeConflict, false},
		{"QueueDeletedRecently", own + "QueueDeletedRecently", 400, "You must wait 60 seconds after deleting a queue before you can create another with the same name.", driver.CodeUnavailable, true},
		{"RequestThrottled", "RequestThrottled", 403, "", driver.CodeExhausted, true},
		{"ThrottlingException", "Throttling", 400, "Rate exceeded", driver.CodeExhausted, true},
		{"OverLimit", "OverLimit", 403, "Too many messages in flight for this queue", driver.CodeExhausted, true},
		{"KmsThrottled", "KMS.ThrottlingException", 400, "", driver.CodeExhausted, true},
		{"KmsAccessDenied", "KMS.AccessDeniedException", 400, "", driver.CodePermissionDenied, false},
		{"KmsDisabled", "KMS.DisabledException", 400, "", driver.CodeInvalid, false},
		{"KmsNotFound", "KMS.NotFoundException", 400, "", driver.CodeInvalid, false},
		{"KmsInvalidState", "KMS.InvalidStateException", 400, "", driver.CodeInvalid, false},
		{"AccessDeniedException", "AccessDenied", 403, "", driver.CodePermissionDenied, false},
		{"InvalidSecurity", "InvalidSecurity", 403, "", driver.CodeInvalid, false},
		{"InvalidAddress", "InvalidAddress", 404, "The address is not valid for this endpoint.", driver.CodeInvalid, false},
		{"UnrecognizedClientException", "InvalidClientTokenId", 403, "", driver.CodeUnauthenticated, false},
		{"InvalidSignatureException", "SignatureDoesNotMatch", 403, "", driver.CodeUnauthenticated, false},
		{"MissingAuthenticationTokenException", "MissingAuthenticationToken", 403, "", driver.CodeUnauthenticated, false},
		{"IncompleteSignatureException", "IncompleteSignature", 400, "", driver.CodeUnauthenticated, false},
		{"BatchRequestTooLong", own + "BatchRequestTooLong", 400, "", driver.CodeTooLarge, false},
		{"InvalidParameterValueException", "InvalidParameterValue", 400, "One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes.", driver.CodeTooLarge, false},
		{"InvalidMessageContents", "InvalidMessageContents", 400, "", driver.CodeInvalid, false},
		{"MissingRequiredParameterException", "MissingParameter", 400, "", driver.CodeInvalid, false},
		{"UnsupportedOperation", own + "UnsupportedOperation", 400, "", driver.CodeUnsupported, false},
		{"InternalFailure", "", 500, "", driver.CodeUnavailable, true},
		{"ServiceUnavailable", "", 503, "", driver.CodeUnavailable, true},
		{"RequestTimeout", "", 408, "", driver.CodeUnavailable, true},
		{"RequestExpired", "", 400, "", driver.CodeUnavailable, true},
		{"ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404, "The input receipt handle is invalid.", driver.CodeLost, false},
		{"InvalidIdFormat", "", 400, "", driver.CodeLost, false},
		{"MessageNotInflight", own + "MessageNotInflight", 400, "", driver.CodeLost, false},
		{"InvalidParameterValueException", "InvalidParameterValue", 400, "Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.", driver.CodeLost, false},
		{"InvalidParameterValueException", "InvalidParameterValue", 400, "Value AQEB for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.", driver.CodeLost, false},
		{"NotFound", "-", 404, "Topic does not exist", driver.CodeNotFound, false},
		{"ResourceNotFound", "-", 404, "", driver.CodeNotFound, false},
		{"AuthorizationError", "-", 403, "", driver.CodePermissionDenied, false},
		{"NotAuthorized", "-", 400, "", driver.CodePermissionDenied, false},
		{"InvalidParameter", "-", 400, "Invalid parameter: Message too long", driver.CodeTooLarge, false},
		{"InvalidParameter", "-", 400, "Invalid parameter: Attributes Reason: Subscription already exists with different attributes", driver.CodeConflict, false},
		{"InvalidParameter", "-", 400, "Invalid parameter: Tags Reason: Topic already exists with different tags", driver.CodeConflict, false},
		{"InvalidParameter", "-", 400, "Invalid parameter: TopicArn", driver.CodeInvalid, false},
		{"ParameterValueInvalid", "-", 400, "", driver.CodeInvalid, false},
		{"BatchRequestTooLong", "-", 400, "", driver.CodeTooLarge, false},
		{"Throttled", "-", 429, "", driver.CodeExhausted, true},
		{"Throttling", "-", 400, "Rate exceeded", driver.CodeExhausted, true},
		{"KMSThrottling", "-", 400, "", driver.CodeExhausted, true},
		{"KMSAccessDenied", "-", 400, "", driver.CodePermissionDenied, false},
		{"KMSInvalidState", "-", 400, "", driver.CodeInvalid, false},
		{"TopicLimitExceeded", "-", 403, "", driver.CodeExhausted, true},
		{"SubscriptionLimitExceeded", "-", 403, "", driver.CodeExhausted, true},
		{"ConcurrentAccess", "-", 400, "", driver.CodeUnavailable, true},
		{"InternalError", "-", 500, "", driver.CodeUnavailable, true},
		{"SignatureDoesNotMatch", "-", 403, "", driver.CodeUnauthenticated, false},
	} {
		c, _ := amazon(t, func(action string, w http.ResponseWriter, r *http.Request) bool {
			if action == "ListQueues" {
				return false
			}
			refuse(w, r, e.status, e.name, e.query, e.text)
			return true
		})
		var err error
		name := e.query
		if e.query == "-" {
			name = e.name
			_, err = c.sns.GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: aws.String("arn:aws:sns:eu-west-1:000000000000:t")})
		} else {
			_, err = c.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: aws.String("http://x/000000000000/q")})
		}
		got := c.fail("some:Action", "queue \"q\"", err)
		if code := driver.CodeOf(got); code != e.want || code.Heals() != e.heals || !strings.Contains(got.Error(), "queue \"q\"") {
			t.Errorf("%s, %s: code %s (%v), want %s", e.name, e.text, code, got, e.want)
		}
		if name == "" {
			name = e.name
		}
		if e.status >= 500 {
			continue
		}
		if code := driver.CodeOf(c.fail("some:Action", "q", failure{code: name, text: e.text, sender: true}.cause())); code != e.want {
			t.Errorf("%s of an entry: code %s, want %s", name, code, e.want)
		}
	}
	// Whose fault it is decides where nobody knows the name.
	c := &conn{}
	for sender, want := range map[bool]driver.Code{true: driver.CodeInvalid, false: driver.CodeUnavailable} {
		if code := driver.CodeOf(c.fail("a", "q", failure{code: "Other", sender: sender}.cause())); code != want {
			t.Errorf("sender's fault %t: code %s, want %s", sender, code, want)
		}
	}
}

// TestBatchesThatAreNotAnswered: what an answer says nothing of is not stored, nor deleted.
func TestBatchesThatAreNotAnswered(t *testing.T) {
	t.Parallel()
	c, _ := amazon(t, func(action string, w http.ResponseWriter, r *http.Request) bool {
		if action == "SendMessageBatch" {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			_, _ = io.WriteString(w, `{"Successful":[{"Id":"1"}],"Failed":[{"Id":"2","Code":"InvalidMessageContents","SenderFault":true}]}`)
			return true
		}
		return false // {}
	})
	topic, err := c.Topic(t.Context(), driver.TopicRequest{Topic: "q", Kind: driver.Queue, Topology: driver.Assume})
	if err != nil {
		t.Fatal(err)
	}
	defer topic.Close(t.Context())
	fates := make([]driver.Fate, 3)
	told := make(chan struct{}, 3)
	topic.Send(t.Context(), []driver.Message{{}, {}, {}}, func(i int, f driver.Fate, _ error) { fates[i] = f; told <- struct{}{} })
	for range 3 {
		<-told
	}
	if fates[0] != driver.Unknown || fates[1] != driver.Stored || fates[2] != driver.Refused {
		t.Errorf("fates %v", fates)
	}
	s := &session{conn: c, Shelf: driver.NewShelf(&c.Life, nil), plan: &plan{}, lease: time.Minute, out: map[uint64]*receipt{}}
	s.accept(t.Context(), []types.Message{{MessageId: aws.String("m"), ReceiptHandle: aws.String("h"), Body: aws.String("x")}})
	batch := []driver.Settlement{{Receipt: &driver.Receipt{Tag: 1, Token: s.out[1]}, Verb: driver.Ack}}
	if s.Settle(t.Context(), batch); batch[0].Outcome != driver.Again {
		t.Errorf("a delete that is not answered: %s", batch[0].Outcome)
	}
}

// TestClockThatDiffers: a request that was refused because this clock is wrong is signed again
// by Amazon's.
func TestClockThatDiffers(t *testing.T) {
	t.Parallel()
	theirs := func() time.Time { return time.Now().Add(-time.Hour).UTC() }
	handle := func(action string, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Date", theirs().Format(http.TimeFormat))
		signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err == nil && theirs().Sub(signed).Abs() < 5*time.Minute {
			return false
		}
		refuse(w, r, http.StatusForbidden, "InvalidSignatureException", "SignatureDoesNotMatch", "Signature not yet current")
		return true
	}
	c, _ := amazon(t, handle)
	if _, err := c.sqs.ListQueues(t.Context(), &sqs.ListQueuesInput{}); err != nil {
		t.Error(err)
	}
}

// TestCredentialsThatCannotBeHad: whoever gives credentials may be away, or refuse. It is not
// the queue's policy that is to be looked at.
func TestCredentialsThatCannotBeHad(t *testing.T) {
	t.Parallel()
	assume := func(url string, status int, name string) aws.CredentialsProvider {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { refuse(w, r, status, name, "", "as the test wants") }))
		t.Cleanup(s.Close)
		if url == "" {
			url = s.URL
		}
		return stscreds.NewAssumeRoleProvider(sts.New(sts.Options{
			Region: "eu-west-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("AKEY", "SECRET", ""), Retryer: aws.NopRetryer{},
		}), "arn:aws:iam::000000000000:role/r")
	}
	container := func(status int) aws.CredentialsProvider {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return endpointcreds.New(s.URL, func(o *endpointcreds.Options) { o.Retryer = aws.NopRetryer{} })
	}
	for name, e := range map[string]struct {
		provider aws.CredentialsProvider
		want     driver.Code
	}{
		"role is not allowed":   {assume("", 403, "AccessDenied"), driver.CodeUnauthenticated},
		"STS is busy":           {assume("", 400, "Throttling"), driver.CodeUnavailable},
		"STS is broken":         {assume("", 503, "ServiceUnavailable"), driver.CodeUnavailable},
		"STS is away":           {assume("http://127.0.0.1:1", 0, ""), driver.CodeUnavailable},
		"container is broken":   {container(500), driver.CodeUnavailable},
		"container gives none":  {container(404), driver.CodeUnauthenticated},
		"a program of the user": {aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("no") }), driver.CodeUnauthenticated},
	} {
		c, config := amazon(t, func(string, http.ResponseWriter, *http.Request) bool { return false })
		client := sqs.New(sqs.Options{Region: "eu-west-1", BaseEndpoint: &config.Endpoint, Credentials: aws.NewCredentialsCache(e.provider), Retryer: resign{}})
		_, err := client.ListQueues(t.Context(), &sqs.ListQueuesInput{})
		got := c.fail("sqs:SendMessage", "queue \"q\"", err)
		if driver.CodeOf(got) != e.want || !notSent(err) || !strings.Contains(fmt.Sprint(got), "no credentials") {
			t.Errorf("%s: code %s, not sent %t: %v", name, driver.CodeOf(got), notSent(err), got)
		}
	}
}

// TestTokenThatExpires: others are fetched where there are others. A token that was given as
// it is does not get younger.
func TestTokenThatExpires(t *testing.T) {
	t.Parallel()
	var over atomic.Bool
	handle := func(action string, w http.ResponseWriter, r *http.Request) bool {
		if over.Load() {
			refuse(w, r, http.StatusForbidden, "ExpiredTokenException", "ExpiredToken", "The security token included in the request is expired")
		}
		return over.Load()
	}
	c, config := amazon(t, handle)
	config.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKEY", SecretAccessKey: "SECRET"}, nil
	})
	renewed := connected(t, config)
	over.Store(true)
	for conn, want := range map[*conn]driver.Code{c: driver.CodeUnauthenticated, renewed: driver.CodeUnavailable} {
		_, err := conn.sqs.ListQueues(t.Context(), &sqs.ListQueuesInput{})
		if got := conn.fail("sqs:ListQueues", "all", err); driver.CodeOf(got) != want || !strings.Contains(got.Error(), "expired") {
			t.Errorf("got %v, code %s, want %s", got, driver.CodeOf(got), want)
		}
	}
}

// TestWhatWasMadeJustNow: for a while some of Amazon does not know a queue that was made.
func TestWhatWasMadeJustNow(t *testing.T) {
	t.Parallel()
	c := &conn{}
	missing := driver.Errorf(driver.CodeNotFound, "missing")
	c.made("queue \"q\"")
	c.young["queue \"old\""] = time.Now().Add(-settles)
	for what, want := range map[string]driver.Code{"queue \"q\"": driver.CodeUnavailable, "queue \"old\"": driver.CodeNotFound, "queue \"r\"": driver.CodeNotFound} {
		if code := driver.CodeOf(c.patient(what, missing)); code != want {
			t.Errorf("%s: %s, want %s", what, code, want)
		}
	}
	if err := c.patient("queue \"q\"", nil); err != nil {
		t.Error(err)
	}
	if c.made("x"); len(c.young) != 2 {
		t.Errorf("%v is kept", c.young)
	}
}
