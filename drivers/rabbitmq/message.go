package rabbitmq

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// What the driver writes into an AMQP message beside the user's own headers.
const (
	headerKey     = "waybill-key"
	headerFailed  = "waybill-failed" // attempts before the message was copied for a delay
	headerSerial  = "waybill-serial" // tells a returned message from its neighbours
	headerTime    = "timestamp_in_ms"
	headerContent = "content-type" // a property in AMQP
)

const (
	frameSize   = 128 << 10
	headerSpace = frameSize - 1024 // all headers are one frame
)

// slotOf is a key's slot. It is the same in every process and version.
func slotOf(key string) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return int(h % slots)
}

// slotKeys are the routing keys of the slots.
var slotKeys = func() []string {
	keys := make([]string, slots)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	return keys
}()

// refuses says why AMQP cannot carry a message.
func refuses(m *driver.Message) error {
	if len(m.ID) > 255 {
		return driver.Errorf(driver.CodeTooLarge, "rabbitmq: ID has %d bytes; AMQP takes 255", len(m.ID))
	}
	if len(m.Headers) == 0 && len(m.Key) < headerSpace {
		return nil
	}
	size := len(m.Key)
	for name, value := range m.Headers {
		size += len(name) + len(value) + 6
		if len(name) > 255 {
			return driver.Errorf(driver.CodeTooLarge, "rabbitmq: header name %.40q... has %d bytes; AMQP takes 255", name, len(name))
		}
		if name == headerContent && len(value) > 255 {
			return driver.Errorf(driver.CodeTooLarge, "rabbitmq: content-type has more than the 255 bytes that AMQP takes")
		}
	}
	if size > headerSpace {
		return driver.Errorf(driver.CodeTooLarge, "rabbitmq: headers and key have %d bytes; the limit is %d", size, headerSpace)
	}
	return nil
}

// publishing puts a message into p, whose headers are used again.
func publishing(m *driver.Message, p *amqp.Publishing) {
	clear(p.Headers)
	p.DeliveryMode, p.MessageId, p.Body = amqp.Persistent, m.ID, m.Body
	if m.Key != "" {
		p.Headers[headerKey] = m.Key
	}
	for name, value := range m.Headers {
		if name == headerContent {
			p.ContentType = value
		} else {
			p.Headers[name] = value
		}
	}
}

// date says when a message was published. AMQP's timestamp has seconds. Milliseconds are a
// header, where there are headers: for it alone, a table costs more than all the rest.
func date(p *amqp.Publishing, now time.Time) {
	p.Timestamp = now
	if len(p.Headers) > 0 {
		p.Headers[headerTime] = now.UnixMilli()
	}
}

// passing are the headers that the broker writes about one stay in a queue.
var passing = map[string]bool{
	"x-delivery-count": true, "x-acquired-count": true, "x-opt-deaths": true, "x-death": true,
	"x-first-death-exchange": true, "x-first-death-queue": true, "x-first-death-reason": true,
	"x-last-death-exchange": true, "x-last-death-queue": true, "x-last-death-reason": true,
}

// describe fills in a delivery from an AMQP message, whose death, if it is a dead letter of the
// broker's, becomes the headers that all dead letters have. Nothing of it is shared but the
// body.
func describe(raw *amqp.Delivery, d *driver.Delivery) (failed int) {
	d.ID, d.Body = raw.MessageId, raw.Body
	if !raw.Timestamp.IsZero() {
		d.PublishTime = raw.Timestamp
	}
	if raw.ContentType != "" {
		d.Headers = map[string]string{headerContent: raw.ContentType}
	}
	for name, value := range raw.Headers {
		switch name {
		case headerTime:
			if ms, ok := whole(value); ok {
				d.PublishTime = time.UnixMilli(ms)
			}
		case headerKey:
			d.Key = text(value)
		case headerFailed, "x-delivery-count":
			n, _ := whole(value)
			failed += int(n)
		case headerSerial:
		default:
			if passing[name] {
				continue
			}
			if d.Headers == nil {
				d.Headers = make(map[string]string, len(raw.Headers))
			}
			d.Headers[name] = text(value)
		}
	}
	own, counted := whole(raw.Headers["x-delivery-count"])
	if !counted && raw.Redelivered {
		failed++ // a classic queue tells no more
	}
	if dead, ok := buried(raw.Headers); ok {
		failed = dead.since(raw, int(own))
		if d.Headers == nil {
			d.Headers = map[string]string{}
		}
		maps.DeleteFunc(d.Headers, func(name, _ string) bool { return driver.TellsOfDeath(name) })
		maps.Copy(d.Headers, dead.headers())
	}
	d.Attempt = failed + 1
	return failed
}

func whole(value any) (int64, bool) {
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		return v.Int(), true
	case v.CanUint():
		return int64(v.Uint()), true //nolint:gosec // AMQP has 32 bits of these
	default:
		return 0, false
	}
}

// text is a header of any AMQP type as text; tables and arrays are JSON.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case nil:
		return ""
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case amqp.Decimal:
		return decimal(v)
	case amqp.Table, []any:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v) // a number that JSON does not have
		}
		return string(b)
	default:
		return fmt.Sprint(v)
	}
}

// decimal is a number with its point Scale digits from the right.
func decimal(v amqp.Decimal) string {
	digits := strconv.FormatInt(int64(v.Value), 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	if v.Scale == 0 {
		return sign + digits
	}
	for len(digits) <= int(v.Scale) {
		digits = "0" + digits
	}
	point := len(digits) - int(v.Scale)
	return sign + digits[:point] + "." + digits[point:]
}
