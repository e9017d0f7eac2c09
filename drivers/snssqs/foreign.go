package snssqs

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// The headers that foreign events get.
const (
	// HeaderSource says where an event of EventBridge or S3 comes from, as "aws.ec2".
	HeaderSource = "source"
	// HeaderDetailType says what kind of event it is.
	HeaderDetailType = "detail-type"
	// HeaderSubject is the subject of an SNS message that came without raw delivery.
	HeaderSubject = "subject"
)

// foreign says whether a body may be an envelope or event of Amazon's own.
func foreign(body string) bool {
	return strings.HasPrefix(strings.TrimSpace(body), "{") &&
		(strings.Contains(body, `"TopicArn"`) || strings.Contains(body, `"detail-type"`) || strings.Contains(body, `"eventSource"`))
}

// stranger is what is looked for in a foreign body.
type stranger struct {
	// of SNS without raw delivery
	Type, MessageID, TopicArn, Subject, Message, Timestamp string
	MessageAttributes                                      map[string]struct{ Type, Value string }
	// of EventBridge
	ID         string          `json:"id"`
	Source     string          `json:"source"`
	DetailType string          `json:"detail-type"`
	Time       time.Time       `json:"time"`
	Detail     json.RawMessage `json:"detail"`
	// of S3
	Records []struct {
		EventSource string    `json:"eventSource"`
		EventName   string    `json:"eventName"`
		EventTime   time.Time `json:"eventTime"`
	}
}

// readForeign reads messages that others put into a queue. SNS's envelope is taken off;
// events, also in an envelope, keep their bodies and get headers. It returns the body.
func readForeign(body string, d *driver.Delivery) string {
	s, ok := strangerIn(body)
	if !ok || s.Type != "Notification" || !strings.HasPrefix(s.TopicArn, "arn:") {
		s.describe(d)
		return body
	}
	d.ID = s.MessageID
	if at, err := time.Parse(time.RFC3339, s.Timestamp); err == nil {
		d.PublishTime = at
	}
	for name, a := range s.MessageAttributes {
		d.Headers[name] = a.Value
		if raw, err := base64.StdEncoding.DecodeString(a.Value); err == nil && a.Type == "Binary" {
			d.Headers[name] = string(raw)
		}
	}
	if len(s.MessageAttributes) == 0 { // ours always has one where it could be taken for an event
		inner, _ := strangerIn(s.Message)
		inner.describe(d)
	}
	if s.Subject != "" {
		d.Headers[HeaderSubject] = s.Subject
	}
	return s.Message
}

func strangerIn(body string) (s stranger, ok bool) {
	ok = foreign(body) && json.Unmarshal([]byte(body), &s) == nil
	return s, ok
}

// describe says of an event what it is.
func (s *stranger) describe(d *driver.Delivery) {
	switch {
	case s.DetailType != "" && s.Source != "" && len(s.Detail) > 0:
		d.ID = s.ID
		d.Headers[HeaderSource], d.Headers[HeaderDetailType] = s.Source, s.DetailType
		d.PublishTime = s.Time
	case len(s.Records) > 0 && s.Records[0].EventSource != "":
		d.Headers[HeaderSource], d.Headers[HeaderDetailType] = s.Records[0].EventSource, s.Records[0].EventName
		d.PublishTime = s.Records[0].EventTime
	}
}
