package gcppubsub

import (
	"fmt"
	"maps"
	"unicode/utf8"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// The attributes that carry what a message of Google's has no place for.
const (
	attributeID    = "waybill-id"
	attributeKey   = "waybill-key"   // on a topic without order
	attributeEmpty = "waybill-empty" // Google refuses messages that are quite empty
	reserved       = 2               // of them are on one message at most
)

// Google's limits.
const (
	requestBytes   = 10_000_000
	attributeLimit = 100
	nameBytes      = 256
	valueBytes     = 1024
)

// encode fills Google's message, which shares bytes and headers, or says why it cannot. The
// engine keeps to the limits that are capabilities.
func encode(m *driver.Message, ordered bool, out *pubsubpb.PubsubMessage) error {
	switch {
	case len(m.ID) > valueBytes:
		return tooLong("ID", len(m.ID), valueBytes)
	case !utf8.ValidString(m.ID) || !utf8.ValidString(m.Key):
		return driver.Errorf(driver.CodeInvalid, "Google takes IDs and keys of valid UTF-8 alone")
	}
	for name, value := range m.Headers {
		switch {
		case len(name) > nameBytes:
			return tooLong("header name", len(name), nameBytes)
		case len(value) > valueBytes:
			return tooLong(fmt.Sprintf("header %q", name), len(value), valueBytes)
		case len(name) >= 4 && name[:4] == "goog":
			return driver.Errorf(driver.CodeInvalid, "header %q: Google keeps names that begin with goog to itself; choose another", name)
		}
	}
	out.Data, out.Attributes = m.Body, m.Headers
	copied := false
	add := func(name, value string) {
		if !copied {
			copied, out.Attributes = true, make(map[string]string, len(m.Headers)+reserved)
			maps.Copy(out.Attributes, m.Headers)
		}
		out.Attributes[name] = value
	}
	if m.ID != "" {
		add(attributeID, m.ID)
	}
	if ordered {
		out.OrderingKey = m.Key
	} else if m.Key != "" {
		add(attributeKey, m.Key)
	}
	if len(m.Body)+len(out.Attributes) == 0 {
		add(attributeEmpty, "1")
	}
	return nil
}

func tooLong(what string, n, most int) error {
	return driver.Errorf(driver.CodeTooLarge, "%s has %d bytes; Google takes %d", what, n, most)
}

// decode reads Google's message, whose data and attributes it takes over.
func decode(from *pubsubpb.PubsubMessage, to *driver.Message) {
	to.Key, to.Body, to.Headers = from.OrderingKey, from.Data, from.Attributes
	if len(to.Headers) == 0 {
		return
	}
	to.ID = to.Headers[attributeID]
	if key, ok := to.Headers[attributeKey]; ok && to.Key == "" {
		to.Key = key
	}
	delete(to.Headers, attributeID)
	delete(to.Headers, attributeKey)
	delete(to.Headers, attributeEmpty)
	died(to.Headers)
}
