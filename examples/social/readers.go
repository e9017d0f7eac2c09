package main

import (
	"context"
	"fmt"
	"io"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// readers are the three groups.
type readers struct {
	feed, notification, recommendation *ledger.Member

	trained chan struct{} // closed when the recommender's model is there
	slow    *pubsub.Subscription
}

// limit is recommendation's in-flight in the file.
const limit = 50

func openReaders(ctx context.Context, client *config.Client, book *ledger.Book, posts int) (*readers, []pubsub.Route, error) {
	r := &readers{
		feed:           book.Member("feed", posts),
		notification:   book.Member("notification", posts),
		recommendation: book.Member("recommendation", posts),
		trained:        make(chan struct{}),
	}
	var routes []pubsub.Route
	for _, reader := range []struct {
		name   string
		handle func(context.Context, Post, *pubsub.Delivery) error
	}{
		{"feed", reads(r.feed)},
		{"notification", reads(r.notification)},
		{"recommendation", r.recommend},
	} {
		s, err := client.Subscriber(ctx, reader.name)
		if err != nil {
			return nil, nil, err
		}
		r.slow = s // the last
		routes = append(routes, pubsub.Handle(s, pubsub.Typed(codec.JSON[Post](), reader.handle)))
	}
	return r, routes, nil
}

// reads makes a handler that is as quick as can be.
func reads(m *ledger.Member) func(context.Context, Post, *pubsub.Delivery) error {
	return func(_ context.Context, p Post, _ *pubsub.Delivery) error {
		m.Took(fmt.Sprint(p.Number))
		return nil
	}
}

// recommend waits for the model. Its messages' leases are kept meanwhile.
func (r *readers) recommend(ctx context.Context, p Post, d *pubsub.Delivery) error {
	select {
	case <-r.trained:
		return reads(r.recommendation)(ctx, p, d)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tell says how far everybody is when the quick have everything.
func (r *readers) tell(ctx context.Context, w io.Writer, client *config.Client) error {
	held := r.slow.Flights().Messages
	backlog, err := client.Backlog(ctx, "recommendation")
	waiting := fmt.Sprintf("%d wait on the broker", backlog.Ready)
	switch {
	case pubsub.CodeOf(err) == pubsub.CodeUnsupported:
		waiting = "the broker does not tell how many wait there"
	case err != nil:
		return err
	case backlog.Unsettled < 0: // it does not tell them apart
		waiting += ", those among them"
	}
	fmt.Fprintf(w, "  feed and notification have read everything: %d posts\n", r.feed.Got())
	fmt.Fprintf(w, "  recommendation has read %d: it holds %d, and %s\n", r.recommendation.Got(), held, waiting)
	if held > limit {
		return fmt.Errorf("recommendation holds %d messages; its limit is %d", held, limit)
	}
	return nil
}
