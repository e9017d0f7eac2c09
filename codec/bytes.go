package codec

import "bytes"

// Bytes carries bytes as they are, without a content type. Encode copies, so
// that the payload is its caller's.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Encode(v []byte) (Payload, error) { return Payload{Body: bytes.Clone(v)}, nil }

func (bytesCodec) Decode(p Payload) ([]byte, error) { return p.Body, nil }
