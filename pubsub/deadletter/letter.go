package deadletter

import (
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// The headers that a redriven message has beside its own.
const (
	// HeaderRedriven is how often it was redriven.
	HeaderRedriven = driver.HeaderRedriven
	// HeaderGroup is the group that it was redriven for: others of its topic pass it over.
	HeaderGroup = pubsub.HeaderRedrivenFor
	// HeaderRun names the Redrive that did it last.
	HeaderRun = "dead-letter-redriven-by"
)

// Letter is a dead letter, and what its headers tell. What they do not tell is zero: a
// broker's own dead letter has only what that broker says.
type Letter struct {
	// Delivery is the dead letter itself. Its Topic is the dead-letter topic.
	*pubsub.Delivery
	// Source and Group are the topic where the message was, and the group that could not
	// handle it.
	Source, Group string
	// Reason is the error of the last attempt.
	Reason string
	// Died is when it was given up, else when it came to the dead-letter topic.
	Died time.Time
	// Attempts is how many had failed.
	Attempts int
	// Redriven is how often it was brought back before.
	Redriven int
}

// Read reads a delivery of a dead-letter topic.
func Read(d *pubsub.Delivery) Letter {
	l := Letter{
		Delivery: d, Source: d.Headers[middleware.HeaderTopic], Group: d.Headers[middleware.HeaderGroup],
		Reason: d.Headers[middleware.HeaderReason], Died: d.PublishTime,
	}
	if at, err := time.Parse(time.RFC3339, d.Headers[middleware.HeaderTime]); err == nil {
		l.Died = at
	}
	l.Attempts, _ = strconv.Atoi(d.Headers[middleware.HeaderAttempts]) // none where it says none
	l.Redriven, _ = strconv.Atoi(d.Headers[HeaderRedriven])
	return l
}

// Age is how long ago it died; zero if nobody knows.
func (l *Letter) Age() time.Duration {
	if l.Died.IsZero() {
		return 0
	}
	return max(time.Since(l.Died), 0)
}

// revived is the message as it was first published, marked as redriven by a run.
func (l *Letter) revived(run string) *pubsub.Message {
	m := l.Message
	m.Headers = maps.Clone(m.Headers)
	maps.DeleteFunc(m.Headers, func(name, _ string) bool { return strings.HasPrefix(name, "dead-letter-") })
	m.SetHeader(HeaderRedriven, strconv.Itoa(l.Redriven+1))
	m.SetHeader(HeaderRun, run)
	if l.Group != "" {
		m.SetHeader(HeaderGroup, l.Group)
	}
	return &m
}

// Filter picks letters: those that are all that it says. Its zero value picks all.
type Filter struct {
	// Source and Group, unless empty, are where the message failed.
	Source, Group string
	// ID and Key, unless empty, are the message's.
	ID, Key string
	// Reason is in the letter's reason, in any case of letters.
	Reason string
	// Headers are headers that the message has, with these values.
	Headers map[string]string
	// MinAge and MaxAge, unless zero, bound how long ago it died. What has no age is picked
	// by neither.
	MinAge, MaxAge time.Duration
}

// Picks says whether the filter picks a letter.
func (f *Filter) Picks(l *Letter) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	if !is(f.Source, l.Source) || !is(f.Group, l.Group) || !is(f.ID, l.ID) || !is(f.Key, l.Key) ||
		!strings.Contains(strings.ToLower(l.Reason), strings.ToLower(f.Reason)) {
		return false
	}
	for name, want := range f.Headers {
		if got, ok := l.Headers[name]; !ok || got != want {
			return false
		}
	}
	if f.MinAge == 0 && f.MaxAge == 0 {
		return true
	}
	age := l.Age()
	return !l.Died.IsZero() && age >= f.MinAge && (f.MaxAge == 0 || age <= f.MaxAge)
}
