package snssqs

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A message on the wire: the body as it is where it is text that XML takes; up to ten
// attributes, first our own, then headers by name. What is no attribute, for its name,
// its value, or for want of room, goes into one that holds a JSON object.
const (
	ownPrefix        = "waybill-"
	idAttribute      = ownPrefix + "id"
	keyAttribute     = ownPrefix + "key"
	encodedAttribute = ownPrefix + "encoding"   // base64, empty or plain
	headersAttribute = ownPrefix + "headers"    // the rest, as JSON
	dueAttribute     = ownPrefix + "not-before" // milliseconds since 1970

	emptyBody = "-" // Amazon takes no empty one
)

// An entry is an encoded message.
type entry struct {
	index             int // in its batch
	body              string
	attributes        map[string]string
	group, duplicates string
	delay             int32
	size              int
}

// encode makes an entry for a topic or queue. SQS alone can delay, and not on FIFO.
func encode(m *driver.Message, p *plan, now time.Time) *entry {
	e := &entry{}
	all := maps.Clone(m.Headers)
	own := func(name, value string) {
		if all == nil {
			all = map[string]string{}
		}
		all[name] = value
	}
	if m.ID != "" {
		own(idAttribute, m.ID)
	}
	switch e.body = string(m.Body); {
	case e.body == "":
		e.body = emptyBody
		own(encodedAttribute, "empty")
	case !legalText(e.body):
		e.body = base64.StdEncoding.EncodeToString(m.Body)
		own(encodedAttribute, "base64")
	}
	if p.fifo {
		e.group = group(m.Key)
		e.duplicates = duplicates(m, p.ContentDeduplication)
	} else if p.FairQueues && m.Key != "" {
		e.group = group(m.Key)
	}
	if m.Key != "" && (!p.fifo || e.group != m.Key) {
		own(keyAttribute, m.Key)
	}
	switch {
	case m.Delay <= 0:
	case p.topic == "" && !p.fifo:
		e.delay = seconds(m.Delay)
	default:
		own(dueAttribute, strconv.FormatInt(now.Add(m.Delay).UnixMilli(), 10))
	}
	if len(all) == 0 && foreign(e.body) {
		own(encodedAttribute, "plain") // or it would be taken for a stranger's
	}
	e.attributes = pack(all)
	e.size = len(e.body)
	for name, value := range e.attributes {
		e.size += len(name) + len("String") + len(value)
	}
	return e
}

// duplicates is the deduplication ID: messages without an ID are all different. A message
// that was redriven is none that SQS may know already, whatever it goes by.
func duplicates(m *driver.Message, byContent bool) string {
	id, redriven := m.ID, m.Headers[driver.HeaderRedriven]
	switch {
	case byContent && redriven == "":
		return "" // SQS makes it of the body
	case byContent:
		id = string(m.Body)
	case id == "":
		return group("")
	}
	if redriven == "" && legalGroup(id) {
		return id
	}
	return hashed(id + redriven)
}

// pack makes at most ten attributes.
func pack(all map[string]string) map[string]string {
	if len(all) == 0 {
		return nil
	}
	attributes := make(map[string]string, min(len(all), attributeLimit))
	legal := func(name string) bool { return legalAttribute(name) && all[name] != "" && legalText(all[name]) }
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		if own := strings.HasPrefix(a, ownPrefix); own != strings.HasPrefix(b, ownPrefix) {
			if own {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	room := attributeLimit
	if len(names) > room || slices.ContainsFunc(names, func(name string) bool { return !legal(name) }) {
		room--
	}
	rest := map[string]string{}
	for _, name := range names {
		if legal(name) && len(attributes) < room {
			attributes[name] = all[name]
		} else {
			rest[name] = all[name]
		}
	}
	if len(rest) > 0 {
		text, _ := json.Marshal(rest) //nolint:errchkjson // strings
		// JSON escapes what XML does not take, but for these two.
		attributes[headersAttribute] = strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`).Replace(string(text))
	}
	return attributes
}

// legalText says whether a text is one that XML takes, as Amazon asks.
func legalText(s string) bool {
	for i := 0; i < len(s); {
		if b := s[i]; b < utf8.RuneSelf {
			if b < ' ' && b != '\t' && b != '\n' && b != '\r' {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == 0xFFFE || r == 0xFFFF {
			return false
		}
		i += n
	}
	return true
}

// legalAttribute says whether Amazon takes a name.
func legalAttribute(name string) bool {
	if name == "" || len(name) > 256 || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return false
	}
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) && r != '.' })
}

// decode reads a message, ours or a stranger's, into a delivery, and returns from
// when on it may be delivered.
func decode(m *types.Message, fifo bool, d *driver.Delivery) (due time.Time) {
	headers := make(map[string]string, len(m.MessageAttributes))
	for name, value := range m.MessageAttributes {
		if value.StringValue != nil {
			headers[name] = *value.StringValue
		} else {
			headers[name] = string(value.BinaryValue)
		}
	}
	if g := m.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)]; fifo && g != "" && g[0] != ownGroup {
		d.Key = g
	}
	d.PublishTime = milliseconds(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)])
	d.Headers = headers
	body := aws.ToString(m.Body)
	if len(headers) == 0 {
		body = readForeign(body, d)
	}
	due = unpack(body, d)
	died(m, d)
	return due
}

// unpack takes what is ours out of a delivery's headers.
func unpack(body string, d *driver.Delivery) (due time.Time) {
	if text, ok := d.Headers[headersAttribute]; ok && json.Unmarshal([]byte(text), &d.Headers) == nil {
		delete(d.Headers, headersAttribute)
	}
	own := func(name string, to *string) {
		if v, ok := d.Headers[name]; ok {
			*to = v
			delete(d.Headers, name)
		}
	}
	own(idAttribute, &d.ID)
	own(keyAttribute, &d.Key)
	var encoding, at string
	own(encodedAttribute, &encoding)
	own(dueAttribute, &at)
	d.Body = []byte(body)
	switch encoding {
	case "empty":
		d.Body = nil
	case "base64":
		if raw, err := base64.StdEncoding.DecodeString(body); err == nil {
			d.Body = raw
		}
	}
	return milliseconds(at)
}

func milliseconds(s string) time.Time {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil || ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// seconds rounds up: not before what was asked.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) } //nolint:gosec // bounded
