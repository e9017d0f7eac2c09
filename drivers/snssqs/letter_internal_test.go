package snssqs

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// TestLetterWithoutRoom: a message that is as large as Amazon takes dies without the headers
// of a dead letter. It would never get there otherwise.
func TestLetterWithoutRoom(t *testing.T) {
	t.Parallel()
	c, _ := amazon(t, func(action string, w http.ResponseWriter, _ *http.Request) bool {
		if action != "SendMessageBatch" && action != "DeleteMessageBatch" {
			return false
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, `{"Successful":[{"Id":"0"}]}`)
		return true
	})
	letters := c.newSender(&plan{queue: queue{name: "dead", url: "http://x/000000000000/dead"}, limit: largestMessage})
	defer letters.Stop(errClosed)
	for room, marked := range map[int]bool{0: false, 2000: true} {
		s := &session{
			conn: c, Shelf: driver.NewShelf(&c.Life, nil), plan: &plan{}, lease: time.Minute, out: map[uint64]*receipt{}, letters: letters,
			request: driver.SubscribeRequest{TopicRequest: driver.TopicRequest{Topic: "orders"}, Group: "billing"},
		}
		body := strings.Repeat("x", largestMessage-room)
		s.accept(t.Context(), []types.Message{{MessageId: aws.String("m"), ReceiptHandle: aws.String("h"), Body: &body}})
		batch := []driver.Settlement{{Receipt: &driver.Receipt{Tag: 1, Token: s.out[1]}, Verb: driver.Dead}}
		letter := s.letter(&batch[0])
		if string(letter.Body) != body || (letter.Headers[driver.HeaderDeadTopic] == "orders") != marked {
			t.Errorf("room for %d: headers %v", room, letter.Headers)
		}
		if s.Settle(t.Context(), batch); batch[0].Outcome != driver.Confirmed {
			t.Errorf("room for %d: %s, %v", room, batch[0].Outcome, batch[0].OutcomeErr)
		}
	}
}
