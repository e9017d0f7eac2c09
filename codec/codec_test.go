package codec_test

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/waybill-go/waybill/codec"
)

type order struct {
	ID    string
	Cents int
}

func TestJSON(t *testing.T) {
	t.Parallel()
	c := codec.JSON[order]()
	p, err := c.Encode(order{"7", 995})
	if err != nil || p.ContentType != "application/json" {
		t.Fatalf("%+v, %v", p, err)
	}
	if got, err := c.Decode(p); err != nil || got != (order{"7", 995}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := c.Decode(codec.Payload{Body: []byte("{")}); err == nil {
		t.Fatal("decoded what is not JSON")
	}
	if _, err := codec.JSON[func()]().Encode(nil); err == nil {
		t.Fatal("encoded a function")
	}
}

func TestTextRefusesWhatIsNoText(t *testing.T) {
	t.Parallel()
	if _, err := codec.Text().Encode("\xff"); !errors.Is(err, codec.ErrNotText) {
		t.Errorf("encode: %v", err)
	}
	if _, err := codec.Text().Decode(codec.Payload{Body: []byte{0xff}}); !errors.Is(err, codec.ErrNotText) {
		t.Errorf("decode: %v", err)
	}
}

func TestBytesAreCopied(t *testing.T) {
	t.Parallel()
	v := []byte("abc")
	p, _ := codec.Bytes().Encode(v)
	v[0] = 'x'
	if string(p.Body) != "abc" {
		t.Fatal("the payload shares its caller's bytes")
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("über"))
	f.Add([]byte{0xc3})
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := codec.Text().Decode(codec.Payload{Body: body})
		if (err == nil) != utf8.Valid(body) {
			t.Fatalf("%q: %v", body, err)
		}
		if err != nil {
			return
		}
		if p, err := codec.Text().Encode(s); err != nil || !bytes.Equal(p.Body, body) {
			t.Fatalf("%q came back as %q, %v", body, p.Body, err)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"ID":"7","Cents":1}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := codec.JSON[order]()
		v, err := c.Decode(codec.Payload{Body: body})
		if err != nil {
			return
		}
		p, err := c.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := c.Decode(p); err != nil || again != v {
			t.Fatalf("%+v came back as %+v, %v", v, again, err)
		}
	})
}
