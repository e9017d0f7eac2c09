package driver

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The headers that a dead letter has beside its own, whoever moved it. Package middleware
// describes them.
const (
	HeaderDeadTopic    = "dead-letter-topic"
	HeaderDeadGroup    = "dead-letter-group"
	HeaderDeadReason   = "dead-letter-reason"
	HeaderDeadTime     = "dead-letter-time"
	HeaderDeadAttempts = "dead-letter-attempts"
)

// MarkDead gives a message the headers of a dead letter: of which topic and group, after
// how many attempts, and why; nil: they were used up. It writes to Headers, or makes them.
func (m *Message) MarkDead(topic, group string, attempts int, reason error) {
	if m.Headers == nil {
		m.Headers = map[string]string{}
	}
	why := "attempts used up"
	if reason != nil {
		why = strings.TrimPrefix(reason.Error(), "permanent: ")
	}
	m.Headers[HeaderDeadTopic] = topic
	delete(m.Headers, HeaderDeadGroup)
	if group != "" {
		m.Headers[HeaderDeadGroup] = group
	}
	m.Headers[HeaderDeadReason] = bounded(why)
	m.Headers[HeaderDeadTime] = time.Now().UTC().Format(time.RFC3339)
	m.Headers[HeaderDeadAttempts] = strconv.Itoa(attempts)
}

// TellsOfDeath says whether a header is one of a dead letter. Where a broker tells of a new
// death, those of an earlier one go.
func TellsOfDeath(header string) bool {
	switch header {
	case HeaderDeadTopic, HeaderDeadGroup, HeaderDeadReason, HeaderDeadTime, HeaderDeadAttempts:
		return true
	}
	return false
}

// reasonBytes leaves room for the header's name: Google's attributes have 1,024 bytes.
const reasonBytes = 1000

// bounded makes a text fit for a header on every broker.
func bounded(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= reasonBytes {
		return text
	}
	cut := reasonBytes
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
