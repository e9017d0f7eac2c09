package codec

import (
	"errors"
	"unicode/utf8"
)

// ErrNotText is the error of Text for bytes that are not UTF-8.
var ErrNotText = errors.New("text is not valid UTF-8")

// Text carries a string as it is, as media type text/plain; charset=utf-8. A
// string or a body that is not valid UTF-8 is ErrNotText: Bytes is for those.
func Text() Codec[string] { return textCodec{} }

type textCodec struct{}

func (textCodec) Encode(v string) (Payload, error) {
	if !utf8.ValidString(v) {
		return Payload{}, ErrNotText
	}
	return Payload{Body: []byte(v), ContentType: "text/plain; charset=utf-8"}, nil
}

func (textCodec) Decode(p Payload) (string, error) {
	if !utf8.Valid(p.Body) {
		return "", ErrNotText
	}
	return string(p.Body), nil
}
