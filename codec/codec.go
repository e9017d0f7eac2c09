// Package codec turns values into message bodies and back. A Codec is for one
// type; pubsub.TypedPublisher and pubsub.Typed use it at the edge of a
// program, so that the rest of it sees values alone.
//
// JSON, Text and Bytes are here. Codecs with dependencies have modules of
// their own beneath this folder.
package codec

import "errors"

// ErrUnavailable is in the chain of an error that is not the payload's or the value's fault, and
// passes: what a codec needs, such as a schema registry, cannot be reached. pubsub.Typed
// postpones the message then.
var ErrUnavailable = errors.New("codec is unavailable")

// Payload is an encoded value.
type Payload struct {
	// Body is the message's body.
	Body []byte
	// ContentType is its media type, sent as the header "content-type"; may be empty.
	ContentType string
	// Headers are further headers that belong to the encoding; may be nil.
	Headers map[string]string
}

// A Codec encodes and decodes values of one type. It may be used concurrently.
type Codec[T any] interface {
	// Encode returns a payload that the caller owns. It does not keep v.
	Encode(v T) (Payload, error)
	// Decode returns the value of a payload. It may keep the payload's body, which
	// is its own, but not the headers. On an error the value is of no use; the
	// same payload will fail again, so a handler treats it as permanent, unless the
	// error is ErrUnavailable.
	Decode(p Payload) (T, error)
}
