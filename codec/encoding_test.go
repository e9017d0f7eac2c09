package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/waybill-go/waybill/codec"
)

var errRefused = errors.New("refused")

// wrapped puts a mark in front of a body.
type wrapped struct {
	token    string
	optional bool
	err      error
}

func (w wrapped) Encode(p codec.Payload) ([]byte, string, error) {
	return append([]byte(w.token), p.Body...), w.token, w.err
}
func (w wrapped) Accepts(token string) bool { return token == w.token }
func (w wrapped) Decode(p codec.Payload, token string) ([]byte, error) {
	body, ok := bytes.CutPrefix(p.Body, []byte(token))
	if !ok {
		return nil, errRefused
	}
	return body, w.err
}
func (w wrapped) Optional() bool { return w.optional }

func TestEncodedAppliesAndUndoes(t *testing.T) {
	t.Parallel()
	c := codec.Encoded(codec.Text(), wrapped{token: "a"}, wrapped{token: "b", optional: true})
	p, err := c.Encode("text")
	if err != nil || string(p.Body) != "batext" || p.Headers[codec.HeaderContentEncoding] != "a, b" || p.ContentType == "" {
		t.Fatalf("%q %v, %v", p.Body, p.Headers, err)
	}
	for name, x := range map[string]struct {
		body, header string
		want         string
		err          error
	}{
		"as published":         {"batext", "a, b", "text", nil},
		"lax spelling":         {"batext", " A ,,identity, B", "text", nil},
		"without the optional": {"atext", "a", "text", nil},
		"without the other":    {"btext", "b", "", codec.ErrEncoding},
		"without any":          {"text", "", "", codec.ErrEncoding},
		"with a stranger":      {"xbatext", "a, b, x", "", codec.ErrEncoding},
		"a stranger beneath":   {"baxtext", "x, a, b", "", codec.ErrEncoding},
		"in another order":     {"abtext", "b, a", "", codec.ErrEncoding},
		"not what it says":     {"text", "a, b", "", errRefused},
	} {
		headers := map[string]string{codec.HeaderContentEncoding: x.header}
		got, err := c.Decode(codec.Payload{Body: []byte(x.body), Headers: headers})
		if got != x.want || !errors.Is(err, x.err) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, err, x.want, x.err)
		}
		if headers[codec.HeaderContentEncoding] != x.header {
			t.Errorf("%s: the caller's headers were changed", name)
		}
	}
}

func TestEncodedPassesErrorsOn(t *testing.T) {
	t.Parallel()
	if _, err := codec.Encoded(codec.Text()).Encode("\xff"); !errors.Is(err, codec.ErrNotText) {
		t.Errorf("the codec's: %v", err)
	}
	if _, err := codec.Encoded(codec.Text(), wrapped{token: "a", err: errRefused}).Encode(""); !errors.Is(err, errRefused) {
		t.Errorf("the encoding's: %v", err)
	}
}
