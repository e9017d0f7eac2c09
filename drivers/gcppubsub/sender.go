package gcppubsub

import (
	"context"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// How many Publish requests of one topic are under way: few large ones without order,
// so that batches fill; one a key, and so more of them, with order.
const (
	requests      = 8
	keyedRequests = 96
)

// sender is a driver.Topic. A Send is a request, whose messages have one fate.
type sender struct {
	*driver.Requests
	conn    *conn
	name    string
	ordered bool
	assumed bool // whether it exists was not looked at
}

func (s *sender) Send(ctx context.Context, batch []driver.Message, fate func(int, driver.Fate, error)) {
	request := &pubsubpb.PublishRequest{Topic: s.name, Messages: make([]*pubsubpb.PubsubMessage, 0, len(batch))}
	messages, indices := make([]pubsubpb.PubsubMessage, len(batch)), make([]int, 0, len(batch))
	for i := range batch {
		if err := encode(&batch[i], s.ordered, &messages[i]); err != nil {
			fate(i, driver.Refused, err)
			continue
		}
		request.Messages, indices = append(request.Messages, &messages[i]), append(indices, i)
	}
	if len(indices) == 0 {
		return
	}
	var f driver.Fate
	var err error
	tell := func() {
		for _, i := range indices {
			fate(i, f, err)
		}
	}
	if late := s.Go(ctx, func() { f, err = s.publish(request) }, tell); late != nil {
		f, err = driver.Aborted, late
		tell()
	}
}

// publish makes a request.
func (s *sender) publish(request *pubsubpb.PublishRequest) (driver.Fate, error) {
	ctx, cancel := context.WithTimeout(s.Context(), timeout)
	defer cancel()
	_, err := s.conn.client.Topics.Publish(ctx, request)
	err = failure("publish", err)
	if err != nil && driver.CodeOf(err) == driver.CodeNotFound && !s.assumed {
		s.End(err) // it was there: the engine opens it anew
		return driver.Aborted, err
	}
	return driver.FateOf(err, len(request.Messages), true), err
}

// Close ends the sender. The engine has waited for fates: requests that have none yet are
// cut.
func (s *sender) Close(context.Context) error {
	s.Stop(errClosed)
	return nil
}
