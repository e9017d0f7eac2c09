package main

import (
	"context"
	"errors"
	"net"
	"path"
	"strconv"
	"sync"
	"sync/atomic"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// fake is the least of a Pub/Sub, as cheap as it can be: it keeps what is published in
// memory, gives each message once, to one stream or pull of each subscription, respects
// the streams' limits of outstanding messages, and counts acknowledgements. Messages
// pass as the bytes they came in.
type fake struct {
	address string
	server  *grpc.Server
	over    chan struct{}
	last    atomic.Int64 // message id

	mu            sync.Mutex
	resources     map[string][]byte // topics and subscriptions, as they were made
	subscriptions map[string]*subscription
}

// A subscription is what waits in it, and its readers.
type subscription struct {
	topic string

	mu      sync.Mutex
	waiting []stored
	added   chan struct{} // closed when there is more, or more may be outstanding
	streams []*window
	acked   func() // called for each acknowledgement
}

// stored is a message: its id, and its bytes.
type stored struct {
	id    int64
	bytes []byte
}

// A window is what may still be outstanding on a stream. It is guarded by its subscription.
type window struct{ room int64 }

// inResponse is how many messages come in one response at most.
const inResponse = 500

func newFake(ctx context.Context) (*fake, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &fake{
		address: l.Addr().String(), over: make(chan struct{}),
		resources: map[string][]byte{}, subscriptions: map[string]*subscription{},
	}
	f.server = grpc.NewServer(grpc.UnknownServiceHandler(f.serve), grpc.ForceServerCodec(asBytes{}), grpc.MaxRecvMsgSize(16<<20))
	go func() {
		defer close(f.over)
		_ = f.server.Serve(l)
	}()
	return f, nil
}

func (f *fake) close() {
	f.server.Stop()
	<-f.over
}

// asBytes is a codec of messages that stay bytes.
type asBytes struct{}

func (asBytes) Name() string { return "proto" }

func (asBytes) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (asBytes) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

var errMalformed = status.Error(codes.InvalidArgument, "malformed request")

// serve carries any call.
func (f *fake) serve(_ any, call grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(call)
	var request, answer []byte
	err := call.RecvMsg(&request)
	if err != nil {
		return err
	}
	switch path.Base(method) {
	case "CreateTopic":
		answer, err = f.create(request, "")
	case "CreateSubscription":
		var s pubsubpb.Subscription
		if err = proto.Unmarshal(request, &s); err == nil {
			answer, err = f.create(request, s.Topic)
		}
	case "GetTopic", "GetSubscription":
		answer, err = f.get(request)
	case "Publish":
		answer, err = f.publish(request)
	case "StreamingPull":
		return f.streamingPull(request, call)
	case "Pull":
		answer, err = f.pull(call.Context(), request)
	case "Acknowledge":
		err = f.acknowledge(request)
	case "ModifyAckDeadline":
	default:
		return status.Error(codes.Unimplemented, method)
	}
	if err != nil {
		return err
	}
	return call.SendMsg(&answer)
}

// fields walks over the fields of a message.
func fields(b []byte, see func(n protowire.Number, value []byte)) error {
	for len(b) > 0 {
		n, kind, used := protowire.ConsumeTag(b)
		if used < 0 {
			return errMalformed
		}
		b = b[used:]
		size := protowire.ConsumeFieldValue(n, kind, b)
		if size < 0 {
			return errMalformed
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b)
			see(n, value)
		}
		b = b[size:]
	}
	return nil
}

// first is the first field's text: a name, in every request.
func first(b []byte) (name string, err error) {
	err = fields(b, func(n protowire.Number, value []byte) {
		if n == 1 {
			name = string(value)
		}
	})
	return name, err
}

// create makes a topic, or a subscription of one.
func (f *fake) create(request []byte, topic string) ([]byte, error) {
	name, err := first(request)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resources[name] != nil {
		return nil, status.Error(codes.AlreadyExists, name)
	}
	f.resources[name] = request
	if topic != "" {
		f.subscriptions[name] = &subscription{topic: topic, added: make(chan struct{}), acked: func() {}}
	}
	return request, nil
}

func (f *fake) get(request []byte) ([]byte, error) {
	name, err := first(request)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resources[name] == nil {
		return nil, status.Error(codes.NotFound, name)
	}
	return f.resources[name], nil
}

func (f *fake) subscription(name string) (*subscription, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.subscriptions[name]
	if s == nil {
		return nil, status.Error(codes.NotFound, name)
	}
	return s, nil
}

// publish stores messages, and answers with their ids.
func (f *fake) publish(request []byte) (answer []byte, err error) {
	var list []stored
	var topic string
	err = fields(request, func(n protowire.Number, value []byte) {
		switch n {
		case 1:
			topic = string(value)
		case 2:
			list = append(list, stored{bytes: value})
		}
	})
	if err != nil {
		return nil, err
	}
	last := f.last.Add(int64(len(list)))
	for i := range list {
		list[i].id = last - int64(len(list)-1-i)
		answer = protowire.AppendTag(answer, 1, protowire.BytesType)
		answer = protowire.AppendString(answer, strconv.FormatInt(list[i].id, 10))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.subscriptions {
		if s.topic == topic {
			s.add(list)
		}
	}
	return answer, nil
}

func (s *subscription) add(list []stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, list...)
	s.wake()
}

// wake wakes readers. It is called with the lock.
func (s *subscription) wake() {
	close(s.added)
	s.added = make(chan struct{})
}

// take takes messages for a reader, as the field received_messages of a response; or
// tells when there may be some. Reader 0 is a pull.
func (s *subscription) take(reader, limit int) (response []byte, added chan struct{}) {
	s.mu.Lock()
	n := min(len(s.waiting), limit, inResponse)
	if reader > 0 {
		n = min(n, int(max(s.streams[reader-1].room, 0)))
		s.streams[reader-1].room -= int64(n)
	}
	list := s.waiting[:n]
	s.waiting = s.waiting[n:]
	added = s.added
	s.mu.Unlock()
	var received, id []byte
	for _, m := range list {
		id = strconv.AppendInt(id[:0], m.id, 10)
		received = protowire.AppendTag(received[:0], 1, protowire.BytesType) // ack_id: READER-ID
		number := strconv.Itoa(reader)
		received = protowire.AppendVarint(received, uint64(len(number)+1+len(id)))
		received = append(append(append(received, number...), '-'), id...)
		received = protowire.AppendTag(received, 2, protowire.BytesType)                                 // message
		received = protowire.AppendVarint(received, uint64(len(m.bytes)+1+protowire.SizeBytes(len(id)))) //nolint:gosec // small
		received = append(received, m.bytes...)
		received = protowire.AppendTag(received, 3, protowire.BytesType) // message_id
		received = protowire.AppendBytes(received, id)
		response = protowire.AppendTag(response, 1, protowire.BytesType)
		response = protowire.AppendBytes(response, received)
	}
	return response, added
}

func (f *fake) streamingPull(first []byte, call grpc.ServerStream) error {
	var request pubsubpb.StreamingPullRequest
	if err := proto.Unmarshal(first, &request); err != nil {
		return errMalformed
	}
	s, err := f.subscription(request.Subscription)
	if err != nil {
		return err
	}
	limit := request.MaxOutstandingMessages
	if limit <= 0 {
		limit = 1 << 40
	}
	s.mu.Lock()
	s.streams = append(s.streams, &window{room: limit})
	reader := len(s.streams)
	s.mu.Unlock()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		var ping []byte
		for call.RecvMsg(&ping) == nil {
			continue
		}
	}()
	for {
		response, added := s.take(reader, inResponse)
		if len(response) > 0 {
			if err := call.SendMsg(&response); err != nil {
				return err
			}
			continue
		}
		select {
		case <-added:
		case <-closed:
			return nil
		}
	}
}

func (f *fake) pull(ctx context.Context, in []byte) ([]byte, error) {
	var request pubsubpb.PullRequest
	if err := proto.Unmarshal(in, &request); err != nil {
		return nil, errMalformed
	}
	s, err := f.subscription(request.Subscription)
	if err != nil {
		return nil, err
	}
	for {
		response, added := s.take(0, int(request.MaxMessages))
		if len(response) > 0 {
			return response, nil
		}
		select {
		case <-added:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

func (f *fake) acknowledge(request []byte) error {
	name, err := first(request)
	if err != nil {
		return err
	}
	s, err := f.subscription(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err = fields(request, func(n protowire.Number, value []byte) {
		if n != 2 {
			return
		}
		reader := 0
		for _, c := range value {
			if c == '-' {
				break
			}
			reader = 10*reader + int(c-'0')
		}
		if reader > 0 && reader <= len(s.streams) {
			s.streams[reader-1].room++
		}
		s.acked()
	})
	s.wake()
	return err
}

// onAck has f called for each acknowledgement of a subscription.
func (f *fake) onAck(name string, call func()) error {
	s, err := f.subscription(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = call
	return nil
}

// make makes a topic and its subscription.
func (f *fake) make(topic, name string) error {
	t, err := proto.Marshal(&pubsubpb.Topic{Name: topic})
	s, err2 := proto.Marshal(&pubsubpb.Subscription{Name: name, Topic: topic, AckDeadlineSeconds: 10})
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	_, err = f.create(t, "")
	_, err2 = f.create(s, topic)
	return errors.Join(err, err2)
}

// fill stores n messages for a subscription.
func (f *fake) fill(topic string, n int) error {
	m, err := proto.Marshal(&pubsubpb.PubsubMessage{Data: make([]byte, bodySize)})
	if err != nil {
		return err
	}
	request := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), topic)
	for range n {
		request = protowire.AppendBytes(protowire.AppendTag(request, 2, protowire.BytesType), m)
	}
	_, err = f.publish(request)
	return err
}
