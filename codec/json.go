package codec

import "encoding/json"

// JSON encodes with encoding/json, as media type application/json. Decoding
// does not look at the content type, since publishers in other languages often
// leave it out.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Encode(v T) (Payload, error) {
	body, err := json.Marshal(v)
	return Payload{Body: body, ContentType: "application/json"}, err
}

func (jsonCodec[T]) Decode(p Payload) (T, error) {
	var v T
	err := json.Unmarshal(p.Body, &v)
	return v, err
}
