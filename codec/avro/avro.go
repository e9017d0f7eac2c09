// Package avro is a codec for Avro with a schema registry that speaks Confluent's protocol:
//
//	registry, err := sr.NewClient(sr.URLs("http://localhost:8081"))
//	orders, err := avro.New[Order](avro.Options{Registry: registry, Subject: "orders-value"})
//
// A body is in the registry's wire format, which its other clients read and write too: a zero,
// the ID of the schema that it was written with, and the value. What was written with another
// schema is resolved into this one, by Avro's rules. Schemas are asked for once and kept.
//
// A registry that cannot be reached, or does not answer as one, is codec.ErrUnavailable: the
// message is postponed, not lost. A schema that the registry does not know, or that cannot be
// resolved, is permanent.
//
// Values are mapped by github.com/twmb/avro, the registry is asked by
// github.com/twmb/franz-go/pkg/sr.
package avro

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/waybill-go/waybill/codec"
)

// ContentType is the media type of a body in the registry's wire format.
const ContentType = "application/vnd.confluent.avro"

// ErrNotFramed is the error of a body that is not in the registry's wire format.
var ErrNotFramed = errors.New("body is not in a schema registry's wire format")

// Options say where schemas are, and which is this codec's.
type Options struct {
	// Registry is the client of the schema registry; required.
	Registry *sr.Client
	// Subject is what the schema is registered under, such as "orders-value"; empty: this
	// side only reads.
	Subject string
	// Schema is the schema that values are written with and read into, as JSON; default: that
	// of the Go type, a struct, as avro.SchemaFor of github.com/twmb/avro infers it.
	Schema string
	// Register has the schema registered where it is not. Else it must be there.
	Register bool
	// Timeout bounds each question to the registry; default 5 s.
	Timeout time.Duration
}

// New makes a codec. It fails on options that do not fit, and asks the registry nothing yet.
func New[T any](o Options) (codec.Codec[T], error) {
	if o.Registry == nil {
		return nil, errors.New("avro: Options.Registry is nil")
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	var schema *avro.Schema
	var err error
	if o.Schema == "" {
		if schema, err = avro.SchemaFor[T](); err != nil {
			return nil, fmt.Errorf("avro: no schema can be inferred, set Options.Schema: %w", err)
		}
		o.Schema = schema.String()
	} else if schema, err = avro.Parse(o.Schema); err != nil {
		return nil, fmt.Errorf("avro: Options.Schema: %w", err)
	}
	return &of[T]{Options: o, schema: schema, writers: map[int]*answer[*avro.Schema]{}}, nil
}

type of[T any] struct {
	Options
	schema *avro.Schema
	id     answer[int] // of schema, in the registry

	mu      sync.Mutex
	writers map[int]*answer[*avro.Schema] // by ID, resolved into schema
}

func (c *of[T]) Encode(v T) (codec.Payload, error) {
	if c.Subject == "" {
		return codec.Payload{}, errors.New("avro: the codec has no Subject: it is for reading alone")
	}
	id, err := c.id.get(c.Timeout, c.identify)
	if err != nil {
		return codec.Payload{}, err
	}
	body, err := new(sr.ConfluentHeader).AppendEncode(nil, id, nil)
	if err == nil {
		body, err = c.schema.AppendEncode(body, v)
	}
	if err != nil {
		return codec.Payload{}, fmt.Errorf("avro: encode %T: %w", v, err)
	}
	return codec.Payload{Body: body, ContentType: ContentType}, nil
}

func (c *of[T]) Decode(p codec.Payload) (T, error) {
	var v, none T
	id, value, err := new(sr.ConfluentHeader).DecodeID(p.Body)
	if err != nil {
		return none, fmt.Errorf("avro: %w: %w", ErrNotFramed, err)
	}
	schema, err := c.writer(id).get(c.Timeout, func(ctx context.Context) (*avro.Schema, error) { return c.resolve(ctx, id) })
	if err != nil {
		return none, err
	}
	rest, err := schema.Decode(value, &v)
	switch {
	case err != nil:
		return none, fmt.Errorf("avro: decode %T, written with schema %d: %w", v, id, err)
	case len(rest) > 0:
		return none, fmt.Errorf("avro: decode %T, written with schema %d: %d bytes are left over", v, id, len(rest))
	}
	return v, nil
}

// writer is the answer about an ID.
func (c *of[T]) writer(id int) *answer[*avro.Schema] {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.writers[id]
	if a == nil {
		a = &answer[*avro.Schema]{}
		c.writers[id] = a
	}
	return a
}
