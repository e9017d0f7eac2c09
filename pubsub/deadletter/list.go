package deadletter

import (
	"context"

	"github.com/waybill-go/waybill/pubsub"
)

// List calls look for each letter of a dead-letter topic that the filter picks, until that
// returns false. It takes and declares nothing: see pubsub.Client.Browse. The options are those that the
// topic is opened with, without pubsub.Queue.
func List(ctx context.Context, client *pubsub.Client, topic string, filter Filter, policy pubsub.BrowsePolicy,
	look func(Letter) bool, options ...pubsub.TopicOption,
) error {
	options = append([]pubsub.TopicOption{pubsub.Queue()}, options...)
	return client.Browse(ctx, topic, "", policy, func(d *pubsub.Delivery) bool {
		l := Read(d)
		return !filter.Picks(&l) || look(l)
	}, options...)
}
