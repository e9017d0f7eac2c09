package gcppubsub_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// fake is a Pub/Sub of one topic and one subscription, which does what Google documents,
// and fails as a test wants.
//
// A message is leased to the stream that it was given to. The lease outlives the stream;
// when it ends, or is given back, the message comes again. On an ordered subscription the
// messages of a key go, in order, to one stream while some of them are leased, and when
// one comes again, all later ones of its key do so too, acknowledged ones as well. Acknowledgement ids
// of what is to come again are void.
type fake struct {
	pubsubpb.UnimplementedPublisherServer
	pubsubpb.UnimplementedSubscriberServer
	address string

	mu            sync.Mutex
	topics        map[string]*pubsubpb.Topic
	subscriptions map[string]*pubsubpb.Subscription
	log           []*record     // all that was stored
	changed       chan struct{} // closed when there may be more to give
	broken        chan struct{} // closed to break the streams
	losing        bool          // what the next streams give does not arrive, and they break
	acked         map[string]int
	streams       int
	requests      []*pubsubpb.StreamingPullRequest

	// What a test wants; nil: no failure.
	onAdmin   func(name string) error
	onPublish func(r *pubsubpb.PublishRequest) (stored bool, err error)
	onAck     func(ids []string) error
	onModify  func(ids []string, seconds int32) error
}

// A record is a stored message, and whose it is.
type record struct {
	*pubsubpb.PubsubMessage
	state    state
	given    int // how often
	ack      string
	stream   int
	deadline time.Time
}

type state int

const (
	waiting state = iota
	leased
	acknowledged
)

func newFake(t testing.TB) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return newFakeOn(t, l)
}

func newFakeOn(t testing.TB, l net.Listener) *fake {
	t.Helper()
	f := &fake{
		address: l.Addr().String(),
		topics:  map[string]*pubsubpb.Topic{}, subscriptions: map[string]*pubsubpb.Subscription{},
		changed: make(chan struct{}), broken: make(chan struct{}), acked: map[string]int{},
	}
	server := grpc.NewServer()
	pubsubpb.RegisterPublisherServer(server, f)
	pubsubpb.RegisterSubscriberServer(server, f)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-over
	})
	return f
}

func (f *fake) url() string { return "gcppubsub://p?emulator=" + f.address }

func (f *fake) admin(name string) error {
	if f.onAdmin == nil {
		return nil
	}
	return f.onAdmin(name)
}

func (f *fake) GetTopic(_ context.Context, r *pubsubpb.GetTopicRequest) (*pubsubpb.Topic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.admin("GetTopic"); err != nil {
		return nil, err
	}
	if t := f.topics[r.Topic]; t != nil {
		return t, nil
	}
	return nil, status.Error(codes.NotFound, "Resource not found")
}

func (f *fake) CreateTopic(_ context.Context, t *pubsubpb.Topic) (*pubsubpb.Topic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.admin("CreateTopic"); err != nil {
		return nil, err
	}
	f.topics[t.Name] = t
	return t, nil
}

func (f *fake) GetSubscription(_ context.Context, r *pubsubpb.GetSubscriptionRequest) (*pubsubpb.Subscription, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.subscriptions[r.Subscription]; s != nil {
		return s, nil
	}
	return nil, status.Error(codes.NotFound, "Resource not found")
}

func (f *fake) CreateSubscription(_ context.Context, s *pubsubpb.Subscription) (*pubsubpb.Subscription, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.admin("CreateSubscription"); err != nil {
		return nil, err
	}
	f.subscriptions[s.Name] = s
	return s, nil
}

func (f *fake) Publish(_ context.Context, r *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error) {
	stored, err := true, error(nil)
	if f.onPublish != nil {
		stored, err = f.onPublish(r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	response := &pubsubpb.PublishResponse{}
	if stored {
		for _, m := range r.Messages {
			m.MessageId = fmt.Sprint(len(f.log))
			response.MessageIds = append(response.MessageIds, m.MessageId)
			f.log = append(f.log, &record{PubsubMessage: m})
		}
		f.change()
	}
	if err != nil {
		return nil, err
	}
	return response, nil
}

// change wakes the streams. It is called with the lock.
func (f *fake) change() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) StreamingPull(stream pubsubpb.Subscriber_StreamingPullServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.streams++
	number := f.streams
	f.requests = append(f.requests, first)
	s := f.subscriptions[first.Subscription]
	broken := f.broken
	f.mu.Unlock()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for {
			if _, err := stream.Recv(); err != nil {
				return
			}
		}
	}()
	for {
		f.mu.Lock()
		list, next := f.give(number, first, s.GetEnableMessageOrdering())
		changed, losing := f.changed, f.losing
		f.mu.Unlock()
		if len(list) > 0 && losing {
			return status.Error(codes.Unavailable, "what was given is lost on its way, as the test wants")
		}
		if len(list) > 0 {
			if err := stream.Send(&pubsubpb.StreamingPullResponse{
				ReceivedMessages:       list,
				SubscriptionProperties: &pubsubpb.StreamingPullResponse_SubscriptionProperties{ExactlyOnceDeliveryEnabled: s.GetEnableExactlyOnceDelivery()},
			}); err != nil {
				return err
			}
			continue
		}
		lease := time.NewTimer(time.Until(next))
		select {
		case <-changed:
		case <-lease.C:
		case <-broken:
			err = status.Error(codes.Unavailable, "The service was unable to fulfill your request")
		case <-closed:
			lease.Stop()
			return nil
		}
		lease.Stop()
		if err != nil {
			return err
		}
	}
}

// give leases what a stream may have now, and tells when the next lease ends. It is
// called with the lock.
func (f *fake) give(stream int, r *pubsubpb.StreamingPullRequest, ordered bool) (list []*pubsubpb.ReceivedMessage, next time.Time) {
	now := time.Now()
	next = now.Add(time.Hour)
	outstanding := int64(0)
	for _, m := range f.log {
		if m.state == leased && !now.Before(m.deadline) {
			f.again(m, ordered)
		}
		if m.state != leased {
			continue
		}
		if m.deadline.Before(next) {
			next = m.deadline
		}
		if m.stream == stream {
			outstanding++
		}
	}
	held := map[string]bool{} // keys that are another stream's, or have an earlier one to come
	for _, m := range f.log {
		keyed := ordered && m.OrderingKey != ""
		switch {
		case keyed && held[m.OrderingKey], m.state == acknowledged:
		case m.state == leased:
			held[m.OrderingKey] = keyed && m.stream != stream
		case outstanding >= r.MaxOutstandingMessages || len(list) == 100:
			held[m.OrderingKey] = keyed
		default:
			m.state, m.stream, m.deadline = leased, stream, now.Add(time.Duration(r.StreamAckDeadlineSeconds)*time.Second)
			if m.deadline.Before(next) {
				next = m.deadline
			}
			m.ack = "ack-" + m.MessageId
			if m.given++; m.given > 1 {
				m.ack += fmt.Sprint("-", m.given)
			}
			outstanding++
			list = append(list, &pubsubpb.ReceivedMessage{AckId: m.ack, Message: m.PubsubMessage})
		}
	}
	return list, next
}

// again has a message come again, and what was given of its key after it. It is called with
// the lock.
func (f *fake) again(m *record, ordered bool) {
	m.state = waiting
	after := false
	for _, o := range f.log {
		if after = after || o == m; after && ordered && m.OrderingKey != "" && o.OrderingKey == m.OrderingKey {
			o.state = waiting
		}
	}
}

// breakStreams ends all streams, when they have given what there is.
func (f *fake) breakStreams() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.broken)
	f.broken = make(chan struct{})
}

func (f *fake) Acknowledge(_ context.Context, r *pubsubpb.AcknowledgeRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onAck != nil {
		if err := f.onAck(r.AckIds); err != nil {
			return nil, err
		}
	}
	for _, m := range f.find(r.AckIds) {
		m.state = acknowledged
	}
	for _, id := range r.AckIds {
		f.acked[id]++
	}
	f.change()
	return &emptypb.Empty{}, nil
}

func (f *fake) ModifyAckDeadline(_ context.Context, r *pubsubpb.ModifyAckDeadlineRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onModify != nil {
		if err := f.onModify(r.AckIds, r.AckDeadlineSeconds); err != nil {
			return nil, err
		}
	}
	ordered := f.subscriptions[r.Subscription].GetEnableMessageOrdering()
	for _, m := range f.find(r.AckIds) {
		if m.deadline = time.Now().Add(time.Duration(r.AckDeadlineSeconds) * time.Second); r.AckDeadlineSeconds == 0 && m.state == leased {
			f.again(m, ordered)
		}
	}
	f.change()
	return &emptypb.Empty{}, nil
}

// find finds what is leased by these acknowledgement ids. It is called with the lock.
func (f *fake) find(ids []string) (list []*record) {
	for _, m := range f.log {
		if m.state == leased && time.Now().Before(m.deadline) && slices.Contains(ids, m.ack) {
			list = append(list, m)
		}
	}
	return list
}
