// Package cloudevents is a codec for CloudEvents, in binary and in structured mode, with the
// types of github.com/cloudevents/sdk-go/v2.
//
// In binary mode, an event's data is the message's body, its datacontenttype is the content
// type, and each other attribute is a header, whose name the broker's protocol binding begins
// in its own way (Binding). In structured mode the whole event is the body, as JSON. Both
// codecs read both modes and all bindings, so that publishers and readers may change one after
// the other, and events may cross from one broker to another.
package cloudevents

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"github.com/waybill-go/waybill/codec"
)

// A Binding is how the names of attributes begin as headers.
type Binding string

const (
	// Kafka is of the Kafka protocol binding; the default.
	Kafka Binding = "ce_"
	// PubSub is of Google Pub/Sub's.
	PubSub Binding = "ce-"
	// AMQP is of the AMQP protocol binding, for RabbitMQ.
	AMQP Binding = "cloudEvents:"
	// AMQPUnderscore is the AMQP binding's other one, for readers whose names may not have a
	// colon.
	AMQPUnderscore Binding = "cloudEvents_"
)

var bindings = []Binding{Kafka, PubSub, AMQP, AMQPUnderscore}

// BindingOf returns the binding of a broker's name, as pubsub.Capabilities has it. SNS and SQS
// have none of their own, and the in-memory broker takes any: theirs is Kafka's, whose names
// every broker takes.
func BindingOf(broker string) Binding {
	switch name := strings.ToLower(broker); {
	case strings.Contains(name, "google"):
		return PubSub
	case strings.Contains(name, "rabbitmq"):
		return AMQP
	default:
		return Kafka
	}
}

// The media types of structured mode begin alike.
const (
	mediaEvents = "application/cloudevents"
	mediaJSON   = "application/cloudevents+json"
)

// ErrNoEvent is the error of a payload that is no event.
var ErrNoEvent = errors.New("payload is no CloudEvent")

// Options are how events are written. The zero value is binary mode, with Kafka's names.
type Options struct {
	// Binding begins the names of headers in binary mode; default Kafka.
	Binding Binding
	// Structured puts the whole event into the body.
	Structured bool
}

// Events is a codec for events. An event that is not valid is neither written nor read.
func Events(o Options) codec.Codec[event.Event] { return events{o.defaults()} }

func (o Options) defaults() Options {
	if o.Binding == "" {
		o.Binding = Kafka
	}
	return o
}

type events struct{ Options }

func (c events) Encode(e event.Event) (codec.Payload, error) {
	if e.Context == nil {
		return codec.Payload{}, errors.New("cloudevents: event has no context; make it with event.New")
	}
	if err := e.Validate(); err != nil {
		return codec.Payload{}, fmt.Errorf("cloudevents: event is not valid: %w", err)
	}
	if c.Structured {
		body, err := json.Marshal(e)
		if err != nil {
			return codec.Payload{}, fmt.Errorf("cloudevents: %w", err)
		}
		return codec.Payload{Body: body, ContentType: mediaJSON + "; charset=UTF-8"}, nil
	}
	p := codec.Payload{Body: e.Data(), ContentType: e.DataContentType(), Headers: map[string]string{}}
	add := func(name string, value any) error {
		if value == nil || value == "" {
			return nil
		}
		text, err := types.Format(value)
		if err != nil {
			return fmt.Errorf("cloudevents: attribute %s: %w", name, err)
		}
		p.Headers[string(c.Binding)+name] = text
		return nil
	}
	for _, a := range spec.VS.Version(e.SpecVersion()).Attributes() {
		if a.Kind() == spec.DataContentType {
			continue
		}
		if err := add(a.Name(), a.Get(e.Context)); err != nil {
			return codec.Payload{}, err
		}
	}
	for name, value := range e.Extensions() {
		if err := add(name, value); err != nil {
			return codec.Payload{}, err
		}
	}
	return p, nil
}

func (c events) Decode(p codec.Payload) (event.Event, error) {
	media, _, _ := mime.ParseMediaType(p.ContentType) // what cannot be read is the data's own affair
	switch {
	case media == mediaJSON:
		return structured(p.Body)
	case strings.HasPrefix(media, mediaEvents):
		return event.Event{}, fmt.Errorf("cloudevents: content type %q: only %s can be read", media, mediaJSON)
	default:
		return binary(p)
	}
}

func structured(body []byte) (event.Event, error) {
	var e event.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return event.Event{}, fmt.Errorf("cloudevents: %w", err)
	}
	return valid(e)
}

func binary(p codec.Payload) (event.Event, error) {
	for _, b := range bindings {
		number, ok := p.Headers[string(b)+"specversion"]
		if !ok {
			continue
		}
		version := spec.VS.Version(number)
		if version == nil {
			return event.Event{}, fmt.Errorf("cloudevents: version %q is not known", number)
		}
		e := event.Event{Context: version.NewContext(), DataEncoded: p.Body}
		for header, value := range p.Headers {
			name, ok := strings.CutPrefix(header, string(b))
			if !ok || name == "specversion" || name == "datacontenttype" {
				continue
			}
			if err := version.SetAttribute(e.Context, name, value); err != nil {
				return event.Event{}, fmt.Errorf("cloudevents: attribute %s: %w", name, err)
			}
		}
		if p.ContentType != "" {
			if err := e.Context.SetDataContentType(p.ContentType); err != nil {
				return event.Event{}, fmt.Errorf("cloudevents: content type: %w", err)
			}
		}
		return valid(e)
	}
	return event.Event{}, fmt.Errorf("cloudevents: %w: it has neither the header specversion of a binding nor the content type %s", ErrNoEvent, mediaJSON)
}

func valid(e event.Event) (event.Event, error) {
	if e.Context == nil {
		return event.Event{}, fmt.Errorf("cloudevents: %w", ErrNoEvent)
	}
	if err := e.Validate(); err != nil {
		return event.Event{}, fmt.Errorf("cloudevents: event is not valid: %w", err)
	}
	return e, nil
}

// Of is a codec for values that travel as the data of events. inner makes the data;
// describe, the event around it, to which it adds data and datacontenttype. A nil describe makes
// a codec that only reads. What is read of the event is its data: the handler finds the
// attributes among the delivery's headers, in binary mode.
func Of[T any](inner codec.Codec[T], describe func(T) event.Event, o Options) codec.Codec[T] {
	return of[T]{events{o.defaults()}, inner, describe}
}

type of[T any] struct {
	events   events
	inner    codec.Codec[T]
	describe func(T) event.Event
}

func (c of[T]) Encode(v T) (codec.Payload, error) {
	if c.describe == nil {
		return codec.Payload{}, errors.New("cloudevents: the codec has nothing that describes a value: it is for reading alone")
	}
	data, err := c.inner.Encode(v)
	if err != nil {
		return codec.Payload{}, err
	}
	if len(data.Headers) > 0 && c.events.Structured {
		return codec.Payload{}, errors.New("cloudevents: a structured event has no room for the headers of its data; put codec.Encoded around this codec, not into it")
	}
	e := c.describe(v)
	if e.Context == nil {
		return codec.Payload{}, errors.New("cloudevents: event has no context; make it with event.New")
	}
	if data.ContentType != "" {
		e.SetDataContentType(data.ContentType)
	}
	e.DataEncoded, e.DataBase64 = data.Body, !textual(e.DataMediaType())
	p, err := c.events.Encode(e)
	if err != nil {
		return codec.Payload{}, err
	}
	if p.Headers == nil {
		return p, nil
	}
	maps.Copy(p.Headers, data.Headers)
	return p, nil
}

func (c of[T]) Decode(p codec.Payload) (T, error) {
	e, err := c.events.Decode(p)
	if err != nil {
		var none T
		return none, err
	}
	return c.inner.Decode(codec.Payload{Body: e.Data(), ContentType: e.DataContentType(), Headers: p.Headers})
}

// textual says whether data of a media type can be in a JSON document as it is.
func textual(media string) bool {
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "/json") || strings.HasSuffix(media, "+json")
}
