package gcppubsub

import (
	"maps"
	"net/url"
	"strconv"
	"strings"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// deathPrefix begins the attributes that Google gives its own dead letters: how often from
// which subscription it had delivered them.
const (
	deathPrefix       = "CloudPubSubDeadLetterSource"
	deathCount        = deathPrefix + "DeliveryCount"
	deathSubscription = deathPrefix + "Subscription"
)

// died gives a dead letter of Google's the headers that every dead letter has, as far as Google
// tells, in place of its attributes. No message that is published has these.
func died(headers map[string]string) {
	subscription, ok := headers[deathSubscription]
	if !ok {
		return
	}
	count := headers[deathCount]
	alive(headers)
	reason := "not handled"
	if n, err := strconv.Atoi(count); err == nil {
		reason += " in " + count + " deliveries"
		headers[driver.HeaderDeadAttempts] = strconv.Itoa(n)
	}
	headers[driver.HeaderDeadReason] = reason + " of subscription " + subscription + " (Google tells no more)"
	// A name with other dots in it, or a setting's, does not tell what is the topic's.
	if topic, group, ok := strings.Cut(subscription, "."); ok && !strings.Contains(group, ".") {
		headers[driver.HeaderDeadTopic], headers[driver.HeaderDeadGroup] = unescape(topic), unescape(group)
	}
}

// alive removes what tells of a death before.
func alive(headers map[string]string) {
	maps.DeleteFunc(headers, func(name, _ string) bool {
		return driver.TellsOfDeath(name) || strings.HasPrefix(name, deathPrefix)
	})
}

// unescape undoes Name.
func unescape(name string) string {
	name = strings.TrimPrefix(name, escaped)
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return name
}

// mark gives a message that the driver moves the headers of a dead letter, if there is room.
func mark(m *pubsubpb.PubsubMessage, topic, group string, attempts int, reason error) {
	letter := driver.Message{Headers: maps.Clone(m.Attributes)}
	if letter.Headers != nil {
		alive(letter.Headers)
	}
	letter.MarkDead(topic, group, attempts, reason)
	if len(letter.Headers) <= attributeLimit {
		m.Attributes = letter.Headers
	}
}
