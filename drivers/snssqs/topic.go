package snssqs

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// sender is a driver.Topic.
type sender struct {
	*driver.Requests
	conn *conn
	plan *plan
}

func (c *conn) Topic(ctx context.Context, r driver.TopicRequest) (driver.Topic, error) {
	p, err := c.planTopic(ctx, &r)
	if err != nil {
		return nil, err
	}
	if r.Topology != driver.Assume {
		if p.topic != "" {
			err = c.declareTopic(ctx, p)
		} else {
			err = c.declareQueue(ctx, p, p.queue, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return c.newSender(p), nil
}

func (c *conn) newSender(p *plan) *sender {
	return &sender{driver.NewRequests(&c.Life, c.config.Parallel), c, p}
}

// Send makes requests of at most ten messages and a mebibyte.
func (s *sender) Send(ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
	now := time.Now()
	var request []*entry
	size := 0
	flush := func() {
		if len(request) > 0 {
			s.start(ctx, request, fate)
		}
		request, size = nil, 0
	}
	for i := range batch {
		e := encode(&batch[i], s.plan, now)
		e.index = i
		if e.size > s.plan.limit {
			fate(i, driver.Refused, driver.Errorf(driver.CodeTooLarge,
				"snssqs: message has %d bytes as it is sent, with its headers and encoded where it is not text; the limit is %d", e.size, s.plan.limit))
			continue
		}
		if len(request) == batchMessages || size+e.size > s.plan.limit {
			flush()
		}
		request = append(request, e)
		size += e.size
	}
	flush()
}

// start sends a request when there is room for it.
func (s *sender) start(ctx context.Context, request []*entry, fate func(int, driver.Fate, error)) {
	var fates []told
	err := s.Go(ctx, func() { fates = s.send(request) }, func() {
		for i, f := range fates {
			fate(request[i].index, f.fate, f.err)
		}
	})
	if err != nil {
		for _, e := range request {
			fate(e.index, driver.Aborted, err)
		}
	}
}

// told is what became of a message.
type told struct {
	fate driver.Fate
	err  error
}

// send makes one request.
func (s *sender) send(request []*entry) []told {
	ctx, cancel := context.WithTimeout(s.Context(), requestTimeout)
	defer cancel()
	do, action, on := s.enqueue, "sqs:SendMessage", quoted("queue", s.plan.queue.name)
	if s.plan.topic != "" {
		do, action, on = s.publish, "sns:Publish", "topic "+s.plan.topic
	}
	failed, err := do(ctx, request)
	refused := status(err) >= 400 && status(err) < 500
	all := told{err: s.conn.patient(on, s.conn.fail(action, on, err))}
	all.fate = driver.FateOf(all.err, len(request), !refused && !notSent(err))
	fates := make([]told, len(request))
	for i := range fates {
		fates[i] = all
		if f, bad := failed[*entryIDs[i]]; bad {
			err := s.conn.fail(action, on, f.cause())
			fates[i] = told{driver.FateOf(err, 1, f == unanswered), err}
		}
	}
	return fates
}

// failure is an entry of a batch that failed by itself.
type failure struct {
	code, text string
	sender     bool
}

// unanswered is an entry of which the answer says nothing.
var unanswered = failure{code: "NoAnswer", text: "the answer to the batch leaves the entry out"}

// failures are the entries of a batch that failed, by their IDs: all that are not done.
func failures[D, F any](entries int, done []D, doneID func(*D) *string, failed []F, failedID func(*F) (*string, failure)) map[string]failure {
	if len(done) == entries {
		return nil
	}
	list := make(map[string]failure, entries)
	for _, id := range entryIDs[:entries] {
		list[*id] = unanswered
	}
	for i := range done {
		delete(list, aws.ToString(doneID(&done[i])))
	}
	for i := range failed {
		id, f := failedID(&failed[i])
		list[aws.ToString(id)] = f
	}
	return list
}

// failed is an entry of SQS's.
func failed(f *types.BatchResultErrorEntry) (*string, failure) {
	return f.Id, failure{aws.ToString(f.Code), aws.ToString(f.Message), f.SenderFault}
}

func (f failure) cause() error {
	fault := smithy.FaultServer
	if f.sender {
		fault = smithy.FaultClient
	}
	return &smithy.GenericAPIError{Code: f.code, Message: f.text, Fault: fault}
}

func (s *sender) enqueue(ctx context.Context, request []*entry) (map[string]failure, error) {
	in := &sqs.SendMessageBatchInput{QueueUrl: &s.plan.queue.url, Entries: make([]types.SendMessageBatchRequestEntry, 0, len(request))}
	for i, e := range request {
		in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{
			Id: entryIDs[i], MessageBody: &e.body, DelaySeconds: e.delay,
			MessageGroupId: unlessEmpty(e.group), MessageDeduplicationId: unlessEmpty(e.duplicates),
			MessageAttributes: attributes(e, func(value string) types.MessageAttributeValue {
				return types.MessageAttributeValue{DataType: &stringType, StringValue: &value}
			}),
		})
	}
	out, err := s.conn.sqs.SendMessageBatch(ctx, in)
	if err != nil {
		return nil, err
	}
	return failures(len(request), out.Successful, func(d *types.SendMessageBatchResultEntry) *string { return d.Id }, out.Failed, failed), nil
}

func (s *sender) publish(ctx context.Context, request []*entry) (map[string]failure, error) {
	in := &sns.PublishBatchInput{TopicArn: &s.plan.topic}
	for i, e := range request {
		in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, snstypes.PublishBatchRequestEntry{
			Id: entryIDs[i], Message: &e.body,
			MessageGroupId: unlessEmpty(e.group), MessageDeduplicationId: unlessEmpty(e.duplicates),
			MessageAttributes: attributes(e, func(value string) snstypes.MessageAttributeValue {
				return snstypes.MessageAttributeValue{DataType: &stringType, StringValue: &value}
			}),
		})
	}
	out, err := s.conn.sns.PublishBatch(ctx, in)
	if err != nil {
		return nil, err
	}
	return failures(len(request), out.Successful, func(d *snstypes.PublishBatchResultEntry) *string { return d.Id },
		out.Failed, func(f *snstypes.BatchResultErrorEntry) (*string, failure) {
			return f.Id, failure{aws.ToString(f.Code), aws.ToString(f.Message), f.SenderFault}
		}), nil
}

var stringType = "String"

// attributes are those of an entry in the types of one service.
func attributes[T any](e *entry, attribute func(string) T) map[string]T {
	if len(e.attributes) == 0 {
		return nil
	}
	all := make(map[string]T, len(e.attributes))
	for name, value := range e.attributes {
		all[name] = attribute(value)
	}
	return all
}

// entryIDs name the entries of a batch.
var entryIDs = func() (ids [batchMessages]*string) {
	for i := range ids {
		ids[i] = aws.String(strconv.Itoa(i))
	}
	return ids
}()

func unlessEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (s *sender) Close(context.Context) error {
	s.Stop(errClosed)
	return nil
}
