package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// queueOf is a queue of a server, for Amazon's client.
func queueOf(t *testing.T, latency time.Duration) (*server, *rawQueue) {
	t.Helper()
	s, b := serve(latency)
	t.Cleanup(s.close)
	name, _, err := b.makeQueue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := &rawQueue{client: b.client(b.endpoint)}
	if err := q.find(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return s, q
}

// receive makes one poll for at most ten.
func (r *rawQueue) receive(t *testing.T, wait int32) []types.Message {
	t.Helper()
	out, err := r.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: r.url, MaxNumberOfMessages: batch, WaitTimeSeconds: wait})
	if err != nil {
		t.Fatal(err)
	}
	return out.Messages
}

func TestServerGivesOnce(t *testing.T) {
	t.Parallel()
	s, q := queueOf(t, 0)
	if err := q.publish(t.Context(), 25); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var last types.Message
	for _, want := range []int{10, 10, 5, 0} {
		got := q.receive(t, 0)
		if len(got) != want {
			t.Fatalf("got %d messages, want %d", len(got), want)
		}
		for _, last = range got {
			if seen[*last.MessageId] {
				t.Errorf("message %s came twice", *last.MessageId)
			}
			seen[*last.MessageId] = true
		}
	}
	if _, err := q.client.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: q.url, ReceiptHandle: last.ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	again := q.receive(t, 0)
	if len(again) != 1 || *again[0].MessageId != *last.MessageId || *again[0].ReceiptHandle == *last.ReceiptHandle {
		t.Fatalf("what was given back came as %+v", again)
	}
	deletions := 0
	s.onDelete(func() { deletions++ })
	for _, receipt := range []*string{last.ReceiptHandle, again[0].ReceiptHandle, again[0].ReceiptHandle} { // the first is stale
		if _, err := q.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: q.url, ReceiptHandle: receipt}); err != nil {
			t.Fatal(err)
		}
	}
	if deletions != 1 {
		t.Errorf("%d deletions of one message", deletions)
	}
}

func TestServerPollsAreLong(t *testing.T) {
	t.Parallel()
	_, q := queueOf(t, 0)
	got := make(chan int, 2)
	for range cap(got) {
		go func() { got <- len(q.receive(t, 20)) }()
	}
	if err := q.publish(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	if n := <-got + <-got; n != 20 {
		t.Errorf("two polls got %d messages; want 20", n)
	}
}

func TestServerKeepsAttributesAndLatency(t *testing.T) {
	t.Parallel()
	const latency = 20 * time.Millisecond
	s, q := queueOf(t, latency)
	before, began := s.total(), time.Now()
	_, err := q.client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: q.url, MessageBody: aws.String("é\u2028"), MessageAttributes: map[string]types.MessageAttributeValue{
		"a": {DataType: aws.String("String"), StringValue: aws.String("b")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < latency {
		t.Errorf("a request took %v; want %v", took, latency)
	}
	out, err := q.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: q.url, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil || len(out.Messages) != 1 {
		t.Fatalf("got %+v, %v", out, err)
	}
	m := out.Messages[0]
	if *m.Body != "é\u2028" || *m.MessageAttributes["a"].StringValue != "b" || len(m.Attributes) != 1 || m.Attributes["ApproximateReceiveCount"] != "1" {
		t.Errorf("got %+v", m)
	}
	if n := s.total() - before; n != 2 {
		t.Errorf("%v requests were counted; want 2", n)
	}
	var missing *types.QueueDoesNotExist
	if _, err := q.client.GetQueueUrl(context.WithoutCancel(t.Context()), &sqs.GetQueueUrlInput{QueueName: aws.String("none")}); !errors.As(err, &missing) {
		t.Errorf("got %v; want QueueDoesNotExist", err)
	}
}
