package encrypt_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/codec/encrypt"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func encryption(t testing.TB, k encrypt.Keyring) *encrypt.Encryption {
	t.Helper()
	e, err := encrypt.New(k)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func Example() {
	keys, err := encrypt.New(encrypt.Keyring{Current: "2026-11", Keys: map[string][]byte{"2026-11": key(1)}, Context: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	c := codec.Encoded(codec.Text(), keys)
	p, _ := c.Encode("a secret")
	fmt.Println(p.Headers[codec.HeaderContentEncoding], bytes.Contains(p.Body, []byte("secret")))
	fmt.Println(c.Decode(p))
	_, err = c.Decode(codec.Payload{Body: []byte("in the clear")})
	fmt.Println(errors.Is(err, codec.ErrEncoding))
	// Output:
	// waybill-aes-gcm false
	// a secret <nil>
	// true
}

func TestRotation(t *testing.T) {
	t.Parallel()
	old := codec.Encoded(codec.Text(), encryption(t, encrypt.Keyring{Current: "1", Keys: map[string][]byte{"1": key(1)}}))
	both := codec.Encoded(codec.Text(), encryption(t, encrypt.Keyring{Current: "2", Keys: map[string][]byte{"1": key(1), "2": key(2)}}))
	reader := codec.Encoded(codec.Text(), encryption(t, encrypt.Keyring{Keys: map[string][]byte{"1": key(1), "2": key(2)}}))
	for _, publisher := range []codec.Codec[string]{old, both} {
		p, err := publisher.Encode("x")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := reader.Decode(p); got != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	p, _ := both.Encode("x")
	if _, err := old.Decode(p); !errors.Is(err, encrypt.ErrUnknownKey) || !strings.Contains(err.Error(), `"2"`) {
		t.Errorf("a key that is not there: %v", err)
	}
	if _, err := reader.Encode("x"); err == nil {
		t.Error("encrypted without a current key")
	}
}

func TestNothingCanBeChanged(t *testing.T) {
	t.Parallel()
	keys := map[string][]byte{"1": key(1)}
	e := encryption(t, encrypt.Keyring{Current: "1", Keys: keys, Context: "orders"})
	p := codec.Payload{Body: []byte("body"), ContentType: "text/plain"}
	body, _, err := e.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	for i := range body {
		changed := bytes.Clone(body)
		changed[i] ^= 1
		if _, err := e.Decode(codec.Payload{Body: changed, ContentType: "text/plain"}, encrypt.Token); err == nil {
			t.Errorf("byte %d was changed unseen", i)
		}
		if _, err := e.Decode(codec.Payload{Body: body[:i], ContentType: "text/plain"}, encrypt.Token); err == nil {
			t.Errorf("was cut to %d bytes unseen", i)
		}
	}
	if _, err := e.Decode(codec.Payload{Body: body, ContentType: "text/html"}, encrypt.Token); !errors.Is(err, encrypt.ErrForged) {
		t.Errorf("another content type: %v", err)
	}
	moved := encryption(t, encrypt.Keyring{Keys: keys, Context: "payments"})
	if _, err := moved.Decode(codec.Payload{Body: body, ContentType: "text/plain"}, encrypt.Token); !errors.Is(err, encrypt.ErrForged) {
		t.Errorf("another context: %v", err)
	}
	again, _, _ := e.Encode(p)
	if bytes.Equal(body, again) {
		t.Error("a nonce was used twice")
	}
}

func TestBadKeyrings(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]encrypt.Keyring{
		"empty":           {},
		"unknown current": {Current: "2", Keys: map[string][]byte{"1": key(1)}},
		"short key":       {Keys: map[string][]byte{"1": []byte("hunter2")}},
		"no name":         {Keys: map[string][]byte{"": key(1)}},
		"long name":       {Keys: map[string][]byte{strings.Repeat("n", 256): key(1)}},
	} {
		if _, err := encrypt.New(k); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	e := encryption(f, encrypt.Keyring{Current: "1", Keys: map[string][]byte{"1": key(1)}})
	body, _, err := e.Encode(codec.Payload{Body: []byte("body")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte{1, 255, 'x'})
	f.Add([]byte{1, 1, '1'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := e.Decode(codec.Payload{Body: b}, encrypt.Token); err == nil && string(got) != "body" {
			t.Fatalf("%x was taken for %q", b, got)
		}
	})
}
