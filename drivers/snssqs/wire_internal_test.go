package snssqs

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// received is an entry as it comes out of SQS.
func received(t *testing.T, e *entry) *types.Message {
	t.Helper()
	if len(e.attributes) > attributeLimit {
		t.Errorf("%d attributes", len(e.attributes))
	}
	m := &types.Message{Body: aws.String(e.body), Attributes: map[string]string{}, MessageAttributes: map[string]types.MessageAttributeValue{}}
	if !legalText(e.body) || e.body == "" {
		t.Errorf("body %q is not one that Amazon takes", e.body)
	}
	for name, value := range e.attributes {
		if !legalAttribute(name) || value == "" || !legalText(value) {
			t.Errorf("attribute %q with %q is not one that Amazon takes", name, value)
		}
		m.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
	}
	if e.group != "" {
		if len(e.group) > groupLimit {
			t.Errorf("message group of %d bytes", len(e.group))
		}
		m.Attributes["MessageGroupId"] = e.group
	}
	return m
}

func TestMessagesSurviveTheWire(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 30 {
		many[fmt.Sprintf("header-%d", i)] = fmt.Sprint(i)
	}
	for name, m := range map[string]driver.Message{
		"plain":        {Body: []byte("hello <world> & žluťoučký 🐴")},
		"nothing":      {},
		"binary":       {Body: []byte{0, 1, 255, 254}},
		"control":      {Body: []byte("a\x01b")},
		"noncharacter": {Body: []byte("a\ufffe\uffff"), Headers: map[string]string{"odd": "\ufffe\uffff\x00"}},
		"ten":          {ID: "1", Key: "k", Headers: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "f": "6", "g": "7", "h": "8"}},
		"many":         {ID: "id", Key: "key", Headers: many, Body: []byte{0}},
		"names":        {Headers: map[string]string{"AWS.x": "1", "amazon.y": "2", ".z": "3", "a..b": "4", "ž": "5", "with space": "6", "empty": "", strings.Repeat("n", 300): "7"}},
		"odd key":      {Key: "ž key", ID: "id with\x01control"},
		"tilde key":    {Key: "~x"},
		"long key":     {Key: strings.Repeat("k", 1000), ID: strings.Repeat("i", 1000)},
		"like SNS":     {Body: []byte(`{"Type":"Notification","TopicArn":"arn:aws:sns:r:1:t","Message":"inner"}`)},
		"like events":  {Key: "k", Body: []byte(`{"detail-type":"a","source":"b","detail":{}}`)},
	} {
		for _, p := range []*plan{{}, {fifo: true}, {topic: "arn"}, {fifo: true, topic: "arn"}, {Settings: Settings{FairQueues: true}}} {
			var d driver.Delivery
			if due := decode(received(t, encode(&m, p, time.Now())), p.fifo, &d); !due.IsZero() {
				t.Errorf("%s: due at %v", name, due)
			}
			if d.ID != m.ID || d.Key != m.Key || string(d.Body) != string(m.Body) || !maps.Equal(d.Headers, m.Headers) && len(d.Headers)+len(m.Headers) > 0 {
				t.Errorf("%s on %+v: got %+v", name, p, d.Message)
			}
		}
	}
}

func TestPlainTextIsReadableForOthers(t *testing.T) {
	t.Parallel()
	e := encode(&driver.Message{Body: []byte(`{"a":1}`), Headers: map[string]string{"tenant": "x"}}, &plan{}, time.Now())
	if e.body != `{"a":1}` || len(e.attributes) != 1 || e.attributes["tenant"] != "x" {
		t.Errorf("body %q, attributes %v", e.body, e.attributes)
	}
	e = encode(&driver.Message{Body: []byte{0xff}}, &plan{}, time.Now())
	if e.body != "/w==" || e.attributes["waybill-encoding"] != "base64" {
		t.Errorf("body %q, attributes %v", e.body, e.attributes)
	}
}

func TestGroupsAndDuplicates(t *testing.T) {
	t.Parallel()
	fifo := &plan{fifo: true}
	group := func(m driver.Message, p *plan) *entry { return encode(&m, p, time.Now()) }
	if a, b := group(driver.Message{}, fifo), group(driver.Message{}, fifo); a.group == b.group || a.duplicates == b.duplicates || a.duplicates == "" {
		t.Error("messages without key and ID share a group or are duplicates")
	}
	if e := group(driver.Message{Key: "order-7", ID: "m1"}, fifo); e.group != "order-7" || e.duplicates != "m1" {
		t.Errorf("group %q, duplicates %q", e.group, e.duplicates)
	}
	byContent := &plan{fifo: true, Settings: Settings{ContentDeduplication: true}}
	for _, p := range []*plan{fifo, byContent} {
		// Else SQS would take it for its first publishing, say that it is stored, and lose it.
		seen := map[string]bool{"m1": true, "": true}
		for _, times := range []string{"1", "2"} {
			e := group(driver.Message{ID: "m1", Body: []byte("x"), Headers: map[string]string{driver.HeaderRedriven: times}}, p)
			if seen[e.duplicates] {
				t.Errorf("redriven %s times, it is a duplicate: %q", times, e.duplicates)
			}
			seen[e.duplicates] = true
		}
	}
	if e := group(driver.Message{ID: "m1"}, byContent); e.duplicates != "" {
		t.Errorf("duplicates %q beside those by content", e.duplicates)
	}
	if e := group(driver.Message{Key: "k"}, &plan{}); e.group != "" {
		t.Errorf("group %q on a standard queue that did not ask", e.group)
	}
	fair := &plan{Settings: Settings{FairQueues: true}}
	if e := group(driver.Message{Key: "k"}, fair); e.group != "k" || e.duplicates != "" {
		t.Errorf("fair: group %q, duplicates %q", e.group, e.duplicates)
	}
	if e := group(driver.Message{}, fair); e.group != "" {
		t.Errorf("fair, without a key: group %q", e.group)
	}
	if e := group(driver.Message{Delay: 1500 * time.Millisecond}, &plan{}); e.delay != 2 || len(e.attributes) != 1 {
		t.Errorf("delay %d, attributes %v", e.delay, e.attributes)
	}
	if e := group(driver.Message{Delay: time.Minute}, &plan{topic: "arn"}); e.delay != 0 || e.attributes[dueAttribute] == "" {
		t.Errorf("SNS: delay %d, attributes %v", e.delay, e.attributes)
	}
}

func TestForeignMessages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body, want string
		id         string
		headers    map[string]string
		at         string
	}{
		"SNS without raw delivery": {
			body: `{"Type":"Notification","MessageId":"m-1","TopicArn":"arn:aws:sns:eu-west-1:1:t","Subject":"greeting","Message":"hello","Timestamp":"2026-01-02T03:04:05.678Z",` +
				`"MessageAttributes":{"tenant":{"Type":"String","Value":"a"},"raw":{"Type":"Binary","Value":"AP8="}}}`,
			want: "hello", id: "m-1", headers: map[string]string{"subject": "greeting", "tenant": "a", "raw": "\x00\xff"}, at: "2026-01-02T03:04:05.678Z",
		},
		"ours, of SNS without raw delivery": {
			body: `{"Type":"Notification","MessageId":"m-1","TopicArn":"arn:aws:sns:eu-west-1:1:t","Message":"/w==","Timestamp":"2026-01-02T03:04:05Z",` +
				`"MessageAttributes":{"waybill-encoding":{"Type":"String","Value":"base64"},"waybill-id":{"Type":"String","Value":"own"}}}`,
			want: "\xff", id: "own", headers: map[string]string{}, at: "2026-01-02T03:04:05Z",
		},
		"EventBridge": {
			body: `{"version":"0","id":"e-1","detail-type":"EC2 Instance State-change Notification","source":"aws.ec2","time":"2026-01-02T03:04:05Z","detail":{"state":"running"}}`,
			id:   "e-1", headers: map[string]string{"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification"}, at: "2026-01-02T03:04:05Z",
		},
		"S3": {
			body:    `{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","eventTime":"2026-01-02T03:04:05Z","s3":{}}]}`,
			headers: map[string]string{"source": "aws:s3", "detail-type": "ObjectCreated:Put"}, at: "2026-01-02T03:04:05Z",
		},
		"not quite": {body: `{"TopicArn": not JSON`, headers: map[string]string{}},
		"text":      {body: "just text", headers: map[string]string{}},
		"S3 by SNS without raw delivery": {
			body: `{"Type":"Notification","MessageId":"m-1","TopicArn":"arn:aws:sns:eu-west-1:1:t","Subject":"Amazon S3 Notification","Timestamp":"2026-01-02T03:04:06Z",` +
				`"Message":"{\"Records\":[{\"eventSource\":\"aws:s3\",\"eventName\":\"ObjectCreated:Put\",\"eventTime\":\"2026-01-02T03:04:05Z\"}]}"}`,
			want: `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","eventTime":"2026-01-02T03:04:05Z"}]}`,
			id:   "m-1", headers: map[string]string{"subject": "Amazon S3 Notification", "source": "aws:s3", "detail-type": "ObjectCreated:Put"}, at: "2026-01-02T03:04:05Z",
		},
		"an envelope in an envelope": {
			body: `{"Type":"Notification","MessageId":"m-1","TopicArn":"arn:aws:sns:eu-west-1:1:t","Timestamp":"2026-01-02T03:04:05Z",` +
				`"Message":"{\"Type\":\"Notification\",\"TopicArn\":\"arn:aws:sns:eu-west-1:1:u\",\"Message\":\"inner\"}"}`,
			want: `{"Type":"Notification","TopicArn":"arn:aws:sns:eu-west-1:1:u","Message":"inner"}`,
			id:   "m-1", headers: map[string]string{}, at: "2026-01-02T03:04:05Z",
		},
	} {
		var d driver.Delivery
		decode(&types.Message{Body: &c.body}, false, &d)
		if c.want == "" {
			c.want = c.body
		}
		at := ""
		if !d.PublishTime.IsZero() {
			at = d.PublishTime.UTC().Format(time.RFC3339Nano)
		}
		if string(d.Body) != c.want || d.ID != c.id || !maps.Equal(d.Headers, c.headers) || at != c.at {
			t.Errorf("%s: ID %q, headers %q, at %s, body %q", name, d.ID, d.Headers, at, d.Body)
		}
	}
	var d driver.Delivery
	decode(&types.Message{Body: aws.String("x"), Attributes: map[string]string{"MessageGroupId": "g"}, MessageAttributes: map[string]types.MessageAttributeValue{
		"n": {DataType: aws.String("Number"), StringValue: aws.String("7")}, "b": {DataType: aws.String("Binary"), BinaryValue: []byte{1}},
	}}, true, &d)
	if d.Key != "g" || d.Headers["n"] != "7" || d.Headers["b"] != "\x01" {
		t.Errorf("foreign attributes: %+v", d.Message)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"orders", "Orders_Created", "orders.created.v1", "orders-created-v1", "orders created v1", "žluť", strings.Repeat("x", 100), strings.Repeat("x", 101)} {
		for _, fifo := range []bool{false, true} {
			got := legalName(name, fifo, queueNameLimit)
			if len(got) > queueNameLimit || strings.HasSuffix(got, fifoSuffix) != fifo || legalName(got, fifo, queueNameLimit) != got {
				t.Errorf("%q becomes %q", name, got)
			}
			if before, dup := seen[got]; dup {
				t.Errorf("%q and %q both become %q", before, name, got)
			}
			seen[got] = name
		}
	}
	if got := legalName("Orders_Created", false, queueNameLimit); got != "Orders_Created" {
		t.Errorf("a legal name becomes %q", got)
	}
}

// TestPartitions: the addresses and names that are computed are those of the SDK.
func TestPartitions(t *testing.T) {
	t.Parallel()
	for region, name := range map[string]string{
		"eu-west-1": "aws", "ap-southeast-7": "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov", "us-iso-east-1": "aws-iso",
		"us-isob-east-1": "aws-iso-b", "eu-isoe-west-1": "aws-iso-e", "us-isof-south-1": "aws-iso-f", "eusc-de-east-1": "aws-eusc",
	} {
		c := &conn{region: region}
		if got, want := c.arn("123456789012", "sqs", "q"), "arn:"+name+":sqs:"+region+":123456789012:q"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		there, err := sqs.NewDefaultEndpointResolverV2().ResolveEndpoint(t.Context(), sqs.EndpointParameters{Region: &region}.WithDefaults())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := c.url("123456789012", "q"), there.URI.String()+"/123456789012/q"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	const q, topic = "arn:aws:sqs:eu-west-1:123456789012:q", "arn:aws:sns:eu-west-1:123456789012:t"
	allow := func(principal, action, condition string) string {
		return `{"Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":` + action + `,"Resource":"` + q + `"` + condition + `}]}`
	}
	const sns, send = `{"Service":"sns.amazonaws.com"}`, `"sqs:SendMessage"`
	for policy, want := range map[string]bool{
		"":                      false,
		"{}":                    false,
		policyFor(q, topic):     true,
		policyFor(q, topic+"2"): false,
		policyFor(q+"2", topic): false,
		allow(sns, send, ""):    true,
		allow(`"*"`, `"*"`, ""): true,
		allow(`{"AWS":"*"}`, `["SQS:ReceiveMessage","SQS:*"]`, `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:123456789012:*"}}`):                                                              true,
		allow(sns, send, `,"Condition":{"StringEquals":{"aws:SourceAccount":"999999999999"}}`):                                                                                                           false,
		allow(sns, send, `,"Condition":{"StringEquals":{"aws:SourceAccount":["999999999999","123456789012"]}}`):                                                                                          true,
		allow(`{"Service":"events.amazonaws.com"}`, send, ""):                                                                                                                                            false,
		allow(sns, `"sqs:ReceiveMessage"`, ""):                                                                                                                                                           false,
		`{"Statement":{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"` + q + `"}}`:                                                                 true,
		allow(sns, send, `,"Condition":{"Bool":{"aws:SecureTransport":true},"NumericLessThan":{"aws:MultiFactorAuthAge":3600}}`):                                                                         true,
		allow(sns, send, `,"Condition":{"StringEquals":{"aws:SourceAccount":123456789012}}`):                                                                                                             true,
		strings.Replace(policyFor(q, topic), `"Statement":[`, `"Statement":[{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*"},`, 1):                                                      false,
		strings.Replace(policyFor(q, topic), `"Statement":[`, `"Statement":[{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}},`, 1): true,
	} {
		if got := lets(policy, q, topic); got != want {
			t.Errorf("lets(%s) = %t, want %t", policy, got, want)
		}
	}
}

func FuzzWire(f *testing.F) {
	f.Add("id", "key", "name", "value", []byte("body"))
	f.Fuzz(func(t *testing.T, id, key, name, value string, body []byte) {
		m := driver.Message{ID: strings.ToValidUTF8(id, ""), Key: strings.ToValidUTF8(key, ""), Body: body}
		if name = strings.ToValidUTF8(name, ""); name != "" && !strings.HasPrefix(name, ownPrefix) {
			m.Headers = map[string]string{name: strings.ToValidUTF8(value, "")}
		}
		var d driver.Delivery
		decode(received(t, encode(&m, &plan{fifo: true}, time.Now())), true, &d)
		if d.ID != m.ID || d.Key != m.Key || string(d.Body) != string(m.Body) || len(m.Headers) > 0 && !maps.Equal(d.Headers, m.Headers) {
			t.Errorf("got %+v, sent %+v", d.Message, m)
		}
	})
}
