package codec

import (
	"errors"
	"fmt"
	"maps"
	"strings"
)

// HeaderContentEncoding is the header that lists the encodings of a body, in the order in
// which they were applied, as HTTP's does.
const HeaderContentEncoding = "content-encoding"

// An Encoding changes the bodies that a codec makes, such as by compressing or encrypting
// them, and changes them back. It may be used concurrently.
type Encoding interface {
	// Encode returns the changed body, which the caller owns, and the token that says how it
	// was changed: lower case, without commas and spaces. An empty token leaves the payload as
	// it is. It does not change what it is given.
	Encode(p Payload) (body []byte, token string, err error)
	// Accepts says whether Decode knows a token.
	Accepts(token string) bool
	// Decode changes a body back that the token says is changed. It does not change what it is
	// given.
	Decode(p Payload, token string) (body []byte, err error)
	// Optional says whether a body without a token that Accepts knows is taken as it is.
	Optional() bool
}

// ErrEncoding is the error of a payload whose encodings are not those of its codec.
var ErrEncoding = errors.New("content encoding does not fit")

// Encoded is a codec whose payloads go through encodings: the first listed is applied first and
// undone last, so compress before you encrypt. What was applied is listed in the header
// content-encoding. A payload that lacks an encoding which is not optional, or has one that
// nothing here undoes, is ErrEncoding.
func Encoded[T any](inner Codec[T], encodings ...Encoding) Codec[T] {
	return encoded[T]{inner, encodings}
}

type encoded[T any] struct {
	inner     Codec[T]
	encodings []Encoding
}

func (c encoded[T]) Encode(v T) (Payload, error) {
	p, err := c.inner.Encode(v)
	if err != nil {
		return Payload{}, err
	}
	for _, e := range c.encodings {
		body, token, err := e.Encode(p)
		if err != nil {
			return Payload{}, err
		}
		if token == "" {
			continue
		}
		p.Body = body
		p.Headers = with(p.Headers, append(tokens(p.Headers), token))
	}
	return p, nil
}

func (c encoded[T]) Decode(p Payload) (T, error) {
	var none T
	for i := len(c.encodings) - 1; i >= 0; i-- {
		e, list := c.encodings[i], tokens(p.Headers)
		last := ""
		if len(list) > 0 {
			last = list[len(list)-1]
		}
		switch {
		case last != "" && e.Accepts(last):
		case e.Optional():
			continue
		default:
			return none, fmt.Errorf("%w: %s is %q, and an encoding that must be there is not the last: was it published by a codec with the same encodings?",
				ErrEncoding, HeaderContentEncoding, strings.Join(list, ", "))
		}
		body, err := e.Decode(p, last)
		if err != nil {
			return none, err
		}
		p.Body = body
		p.Headers = with(p.Headers, list[:len(list)-1])
	}
	if list := tokens(p.Headers); len(list) > 0 {
		return none, fmt.Errorf("%w: %q is left, and this codec does not undo it: add its encoding", ErrEncoding, strings.Join(list, ", "))
	}
	return c.inner.Decode(p)
}

// tokens lists the encodings of a payload. "identity" is none.
func tokens(headers map[string]string) []string {
	var list []string
	for token := range strings.SplitSeq(headers[HeaderContentEncoding], ",") {
		if token = strings.ToLower(strings.TrimSpace(token)); token != "" && token != "identity" {
			list = append(list, token)
		}
	}
	return list
}

// with copies headers with another list of encodings.
func with(headers map[string]string, list []string) map[string]string {
	headers = maps.Clone(headers)
	if headers == nil {
		headers = map[string]string{}
	}
	if len(list) == 0 {
		delete(headers, HeaderContentEncoding)
	} else {
		headers[HeaderContentEncoding] = strings.Join(list, ", ")
	}
	return headers
}
