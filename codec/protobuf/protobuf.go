// Package protobuf is a codec for protocol buffers, in their binary form or as JSON.
//
// The content type says which message it is, such as
//
//	application/protobuf; proto=shop.v1.Order
//	application/json; proto=shop.v1.Order
//
// Decoding follows the content type: both codecs read both forms, and without a content type
// the codec's own. A content type that names another message is refused, for the binary form of
// one message often decodes as another without an error.
package protobuf

import (
	"errors"
	"fmt"
	"mime"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/waybill-go/waybill/codec"
)

// The media types. Decode knows the older application/x-protobuf too.
const (
	mediaBinary = "application/protobuf"
	mediaJSON   = "application/json"
	mediaOlder  = "application/x-protobuf"
)

// ErrOtherMessage is the error of a payload whose content type names another message.
var ErrOtherMessage = errors.New("payload is another message")

// Binary encodes in the binary form. T is a pointer to a generated message, such as
// *shopv1.Order.
func Binary[T proto.Message]() codec.Codec[T] { return of[T]{} }

// JSON encodes as ProtoJSON. Fields that a reader does not know are passed over, as they are
// in the binary form. T is as Binary's.
func JSON[T proto.Message]() codec.Codec[T] { return of[T]{json: true} }

type of[T proto.Message] struct{ json bool }

func (c of[T]) Encode(v T) (codec.Payload, error) {
	switch {
	case !generated[T]():
		return codec.Payload{}, errInterface
	case !v.ProtoReflect().IsValid():
		return codec.Payload{}, fmt.Errorf("protobuf: %T is nil", v)
	}
	name := string(descriptor[T]().FullName())
	media, marshal := mediaBinary, proto.Marshal
	if c.json {
		media, marshal = mediaJSON, protojson.Marshal
	}
	body, err := marshal(v)
	if err != nil {
		return codec.Payload{}, fmt.Errorf("protobuf: encode %s: %w", name, err)
	}
	return codec.Payload{Body: body, ContentType: media + "; proto=" + name}, nil
}

func (c of[T]) Decode(p codec.Payload) (T, error) {
	var none T
	if !generated[T]() {
		return none, errInterface
	}
	name := string(descriptor[T]().FullName())
	json := c.json
	if p.ContentType != "" {
		media, parameters, err := mime.ParseMediaType(p.ContentType)
		if err != nil {
			return none, fmt.Errorf("protobuf: content type %q: %w", p.ContentType, err)
		}
		switch {
		case media == mediaBinary, media == mediaOlder:
			json = false
		case media == mediaJSON, strings.HasSuffix(media, "+json"):
			json = true
		default:
			return none, fmt.Errorf("protobuf: content type %q is neither %s nor %s", media, mediaBinary, mediaJSON)
		}
		if other := parameters["proto"]; other != "" && other != name {
			return none, fmt.Errorf("protobuf: %w: %q; want %s", ErrOtherMessage, other, name)
		}
	}
	v, _ := none.ProtoReflect().New().Interface().(T)
	unmarshal := proto.Unmarshal
	if json {
		unmarshal = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal
	}
	if err := unmarshal(p.Body, v); err != nil {
		return none, fmt.Errorf("protobuf: decode %s: %w", name, err)
	}
	return v, nil
}

var errInterface = errors.New("protobuf: the codec's type is an interface; want a pointer to a generated message")

// generated is false for the interface proto.Message itself.
func generated[T proto.Message]() bool {
	var none T
	return any(none) != nil
}

// descriptor is of a generated message, which knows its own though it is nil.
func descriptor[T proto.Message]() protoreflect.MessageDescriptor {
	var none T
	return none.ProtoReflect().Descriptor()
}
