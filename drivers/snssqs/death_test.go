package snssqs_test

import (
	"maps"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// TestAmazonsOwnDeadLetter: what SQS moves by a redrive policy says from which queue, and its
// attempts begin at 1: a reader of the dead letters that counts would give it up unread.
func TestAmazonsOwnDeadLetter(t *testing.T) {
	t.Parallel()
	url := start(t)
	amazon := rawClients(t, url)
	r := queueRequest(unique("killer"), false)
	r.DeadLetter = &driver.DeadLetter{Topic: r.Topic + "-dead", MaxAttempts: 1}
	conn, _ := session(t, url, r)
	send(t, conn, r.TopicRequest, driver.Message{ID: "id", Key: "k", Body: []byte("killer"), Headers: map[string]string{
		"h": "v", driver.HeaderDeadReason: "of an earlier death", driver.HeaderDeadTopic: "elsewhere", driver.HeaderDeadAttempts: "3",
	}})
	killers := amazon.address(r.Topic)
	letters, err := conn.Subscribe(t.Context(), queueRequest(r.DeadLetter.Topic, false))
	if err != nil {
		t.Fatal(err)
	}
	// Its readers die of it, ten times more often than it has attempts; with the next receive it moves.
	for range 11 {
		out, err := amazon.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &killers, WaitTimeSeconds: 5})
		if err != nil || len(out.Messages) != 1 {
			t.Fatalf("%d messages, error %v", len(out.Messages), err)
		}
		if _, err := amazon.sqs.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{
			QueueUrl: &killers, ReceiptHandle: out.Messages[0].ReceiptHandle, VisibilityTimeout: 0,
		}); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := amazon.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &killers}); err != nil || len(out.Messages) > 0 {
		t.Fatalf("%d messages, error %v; want that it moved", len(out.Messages), err)
	}
	letters.Credit(10, 1<<20)
	for attempt := 1; attempt <= 2; attempt++ {
		d := take(t, letters, 1)[0]
		want := map[string]string{"h": "v", driver.HeaderDeadReason: "received too often from queue " + r.Topic + ", and not deleted (Amazon tells no more)"}
		if d.ID != "id" || d.Key != "k" || string(d.Body) != "killer" || !maps.Equal(d.Headers, want) {
			t.Errorf("letter %+v", d.Message)
		}
		if d.Attempt != attempt {
			t.Errorf("attempt %d, want %d", d.Attempt, attempt)
		}
		verb := driver.Retry
		if attempt == 2 {
			verb = driver.Ack
		}
		settle(t, letters, driver.Settlement{Receipt: &d.Receipt, Verb: verb, Delay: time.Second})
	}
}

// settle carries out settlements, all of which are to be confirmed.
func settle(t *testing.T, s driver.Session, batch ...driver.Settlement) {
	t.Helper()
	s.Settle(t.Context(), batch)
	for i := range batch {
		if batch[i].Outcome != driver.Confirmed {
			t.Errorf("%s: %s, %v", batch[i].Verb, batch[i].Outcome, batch[i].OutcomeErr)
		}
	}
}
