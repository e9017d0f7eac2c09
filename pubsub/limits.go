package pubsub

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// check says what is wrong with a message, before anything of it is sent. A
// broker's own refusal would come later, and on some brokers takes the whole
// connection down.
func check(m *Message, caps *driver.Capabilities, ordered bool) error {
	if m == nil {
		return invalid("message is nil")
	}
	if len(m.Headers) > 0 {
		for name, value := range m.Headers {
			if err := checkHeader(name, value, caps); err != nil {
				return err
			}
		}
	}
	switch {
	case caps.Headers > 0 && len(m.Headers) > caps.Headers:
		return tooLarge("message has %d headers; %s takes %d", len(m.Headers), caps, caps.Headers)
	case caps.KeyBytes > 0 && len(m.Key) > caps.KeyBytes:
		return tooLarge("key has %d bytes; %s takes %d", len(m.Key), caps, caps.KeyBytes)
	case caps.MessageBytes > 0 && m.Size() > caps.MessageBytes:
		return tooLarge("message has %d bytes with its headers; %s takes %d: store the body elsewhere and send a reference",
			m.Size(), caps, caps.MessageBytes)
	case m.Delay == 0:
		return nil
	case m.Delay < 0:
		return invalid("delay %v is negative", m.Delay)
	case caps.PublishDelay == 0:
		return unsupported(*caps, "delay messages; leave Delay out, or choose another broker")
	case m.Delay > caps.PublishDelay:
		return unsupported(*caps, fmt.Sprintf("delay a message by %v; its longest delay is %v", m.Delay, caps.PublishDelay))
	case ordered && m.Key != "":
		return invalid("a message with a key cannot be delayed on an ordered topic: it would hold back its key; leave out Key or Delay")
	}
	return nil
}

func checkHeader(name, value string, caps *driver.Capabilities) error {
	switch {
	case name == "":
		return invalid("header name is empty")
	case strings.HasPrefix(name, ReservedHeaderPrefix):
		return invalid("header %q: names that begin with %q are the library's own; choose another", name, ReservedHeaderPrefix)
	case !utf8.ValidString(name):
		return invalid("header %q: a name must be valid UTF-8", name)
	case caps.TextHeaders && !utf8.ValidString(value):
		return invalid("header %q: its value is not valid UTF-8, and %s takes text alone: encode it", name, caps)
	case caps.HeaderBytes > 0 && len(name)+len(value) > caps.HeaderBytes:
		return tooLarge("header %q has %d bytes; %s takes %d", name, len(name)+len(value), caps, caps.HeaderBytes)
	}
	return nil
}

func tooLarge(format string, args ...any) error {
	return driver.Errorf(CodeTooLarge, format, args...)
}
