package main

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // SQS's check of bodies
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const region = "us-east-1"

// server is an SQS that does as little as it can and takes as long as Amazon's: it answers
// each request after the same time, however many run beside it and however much is queued.
// Half of that time passes before it acts, half after.
//
// It knows what the contenders ask of a standard queue. What was received stays hidden until
// it is deleted or its visibility is set to nothing: a round is shorter than any visibility
// timeout, so none ends.
type server struct {
	tally
	http    *httptest.Server
	latency time.Duration
	last    atomic.Int64 // message ID

	mu     sync.Mutex
	queues map[string]*queue
}

// A queue is what waits in it, and what was received.
type queue struct {
	more chan struct{} // a token when something waits

	mu       sync.Mutex
	waiting  []*stored
	received map[string]*stored // by receipt
}

// stored is a message.
type stored struct {
	id         string
	body, hash string
	attributes map[string]json.RawMessage
	sent       time.Time
	first      time.Time // when it was received first
	receipts   int
}

// serve starts a server, and returns how to reach it.
func serve(latency time.Duration) (*server, broker) {
	s := &server{latency: latency, queues: map[string]*queue{}}
	s.http = httptest.NewServer(http.HandlerFunc(s.handle))
	u := url.URL{Scheme: "snssqs", Host: region, RawQuery: url.Values{
		"endpoint": {s.http.URL}, "access-key": {"test"}, "secret-key": {"test"},
		"poll-grace": {"1ms"}, // of closing, which is not measured
	}.Encode()}
	return s, broker{url: u.String(), endpoint: s.http.URL, direct: s.http.URL, region: region}
}

func (s *server) close() { s.http.Close() }

// refusal is an error of a request.
type refusal struct{ code, text string }

func (r refusal) Error() string { return r.code + ": " + r.text }

func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var answer any
	if wait(r.Context(), s.latency/2) {
		answer, err = s.act(r.Context(), action(r), body)
	}
	if !wait(r.Context(), s.latency/2) {
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		refused, ok := err.(refusal) //nolint:errorlint // act's own
		if !ok {
			refused = refusal{"InvalidParameterValue", err.Error()}
		}
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": "com.amazonaws.sqs#" + refused.code, "message": refused.text}
	}
	if answer == nil {
		answer = struct{}{}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err) // of types that are all here
	}
	_, _ = w.Write(text)
}

// wait is false where the client has gone.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A request is any of those that are known: they name what they have in common alike.
type request struct {
	QueueName, QueueUrl string //nolint:staticcheck // Amazon's words
	MaxNumberOfMessages int
	WaitTimeSeconds     int

	AttributeNames              []string
	MessageSystemAttributeNames []string
	MessageAttributeNames       []string
	Entries                     []entry
	entry                       // of those that are not batches
}

// An entry is one message's part of a request.
type entry struct {
	ID                string `json:"Id"`
	MessageBody       string
	MessageAttributes map[string]json.RawMessage
	ReceiptHandle     string
	VisibilityTimeout int
}

// act does what a request asks.
func (s *server) act(ctx context.Context, action string, body []byte) (any, error) {
	var in request
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&in); err != nil {
		return nil, err
	}
	switch action {
	case "ListQueues":
		return map[string][]string{"QueueUrls": {}}, nil
	case "CreateQueue":
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.queues[in.QueueName] == nil {
			s.queues[in.QueueName] = &queue{more: make(chan struct{}, 1), received: map[string]*stored{}}
		}
		return s.url(in.QueueName), nil
	}
	name := in.QueueName
	if name == "" {
		name = path.Base(in.QueueUrl)
	}
	s.mu.Lock()
	q := s.queues[name]
	s.mu.Unlock()
	if q == nil {
		return nil, refusal{"QueueDoesNotExist", "The specified queue does not exist."}
	}
	switch action {
	case "GetQueueUrl":
		return s.url(name), nil
	case "GetQueueAttributes":
		return map[string]map[string]string{"Attributes": {"QueueArn": "arn:aws:sqs:" + region + ":000000000000:" + name}}, nil
	case "DeleteQueue":
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.queues, name)
		return nil, nil
	case "SendMessage":
		return s.send(q, in.entry)[0], nil
	case "ReceiveMessage":
		return q.receive(ctx, &in), nil
	case "DeleteMessage":
		s.deleted(q.delete(in.entry))
		return nil, nil
	case "ChangeMessageVisibility":
		q.show(in.entry)
		return nil, nil
	case "SendMessageBatch":
		return batchAnswer{Successful: s.send(q, in.Entries...)}, nil
	case "DeleteMessageBatch":
		s.deleted(q.delete(in.Entries...))
		return done(in.Entries), nil
	case "ChangeMessageVisibilityBatch":
		q.show(in.Entries...)
		return done(in.Entries), nil
	}
	return nil, refusal{"UnsupportedOperation", fmt.Sprintf("%q is not known here", action)}
}

func (s *server) url(name string) map[string]string {
	return map[string]string{"QueueUrl": s.http.URL + "/000000000000/" + name}
}

// batchAnswer is that of a batch, of which nothing fails.
type batchAnswer struct {
	Successful []result
	Failed     []struct{}
}

// result is what became of an entry.
type result struct {
	ID        string `json:"Id,omitempty"`
	MessageID string `json:"MessageId,omitempty"`
	Hash      string `json:"MD5OfMessageBody,omitempty"`
}

// done is the answer that all entries were carried out.
func done(entries []entry) batchAnswer {
	a := batchAnswer{Successful: make([]result, len(entries))}
	for i := range entries {
		a.Successful[i].ID = entries[i].ID
	}
	return a
}

// send stores messages.
func (s *server) send(q *queue, entries ...entry) []result {
	now := time.Now()
	list, results := make([]*stored, len(entries)), make([]result, len(entries))
	for i := range entries {
		e := &entries[i]
		sum := md5.Sum([]byte(e.MessageBody)) //nolint:gosec // SQS's check of bodies
		m := &stored{
			id: strconv.FormatInt(s.last.Add(1), 10), body: e.MessageBody, hash: hex.EncodeToString(sum[:]),
			attributes: e.MessageAttributes, sent: now,
		}
		list[i], results[i] = m, result{e.ID, m.id, m.hash}
	}
	q.add(list)
	return results
}

// add makes messages visible.
func (q *queue) add(list []*stored) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, list...)
	q.tell()
}

// tell wakes a poll if something waits, which tells the next. It is called with the lock.
func (q *queue) tell() {
	if len(q.waiting) == 0 {
		return
	}
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take receives what waits, at most so many.
func (q *queue) take(most int) []*stored {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	list := slices.Clone(q.waiting[:min(most, len(q.waiting))])
	clear(q.waiting[:len(list)])
	q.waiting = q.waiting[len(list):]
	for _, m := range list {
		m.receipts++
		if m.receipts == 1 {
			m.first = now
		}
		q.received[m.receipt()] = m
	}
	q.tell()
	return list
}

// receipt names the last receipt of a message.
func (m *stored) receipt() string { return m.id + "-" + strconv.Itoa(m.receipts) }

// receive polls. It is over when the first message is there, as SQS's is.
func (q *queue) receive(ctx context.Context, in *request) any {
	most := max(in.MaxNumberOfMessages, 1)
	list := q.take(most)
	if len(list) == 0 && in.WaitTimeSeconds > 0 {
		over := time.NewTimer(time.Duration(in.WaitTimeSeconds) * time.Second)
		defer over.Stop()
		for waits := true; waits && len(list) == 0; {
			select {
			case <-q.more:
				list = q.take(most)
			case <-over.C:
				waits = false
			case <-ctx.Done():
				waits = false
			}
		}
	}
	type message struct {
		MessageID         string `json:"MessageId"`
		ReceiptHandle     string
		Body              string
		Hash              string                     `json:"MD5OfBody"`
		Attributes        map[string]string          `json:",omitempty"`
		MessageAttributes map[string]json.RawMessage `json:",omitempty"`
	}
	asked := slices.Concat(in.AttributeNames, in.MessageSystemAttributeNames)
	messages := make([]message, len(list))
	for i, m := range list {
		messages[i] = message{MessageID: m.id, ReceiptHandle: m.receipt(), Body: m.body, Hash: m.hash}
		if len(asked) > 0 {
			messages[i].Attributes = m.system(asked)
		}
		if len(in.MessageAttributeNames) > 0 {
			messages[i].MessageAttributes = m.attributes
		}
	}
	return map[string][]message{"Messages": messages}
}

// system are the attributes that SQS itself gives a message, as far as they are asked for.
func (m *stored) system(asked []string) map[string]string {
	all := map[string]string{
		"SenderId":                         "000000000000",
		"SentTimestamp":                    strconv.FormatInt(m.sent.UnixMilli(), 10),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.first.UnixMilli(), 10),
		"ApproximateReceiveCount":          strconv.Itoa(m.receipts),
	}
	for name := range all {
		if !slices.Contains(asked, "All") && !slices.Contains(asked, name) {
			delete(all, name)
		}
	}
	return all
}

// delete deletes what was received, and says how many that were.
func (q *queue) delete(entries ...entry) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := len(q.received)
	for i := range entries {
		delete(q.received, entries[i].ReceiptHandle)
	}
	return before - len(q.received)
}

// show gives back what is to be visible at once.
func (q *queue) show(entries ...entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range entries {
		m := q.received[entries[i].ReceiptHandle]
		if m == nil || entries[i].VisibilityTimeout > 0 {
			continue
		}
		delete(q.received, m.receipt())
		q.waiting = append(q.waiting, m)
	}
	q.tell()
}
