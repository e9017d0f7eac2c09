package compress_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/codec/compress"
	"github.com/waybill-go/waybill/codec/encrypt"
)

var encodings = map[string]func(compress.Options) *compress.Compression{
	compress.TokenGzip: compress.Gzip, compress.TokenZstd: compress.Zstd,
}

func ExampleZstd() {
	c := codec.Encoded(codec.Text(), compress.Zstd(compress.Options{}))
	p, _ := c.Encode(strings.Repeat("good morning ", 100))
	fmt.Println(p.Headers[codec.HeaderContentEncoding], len(p.Body) < 100)
	text, err := c.Decode(p)
	fmt.Println(len(text), err)
	// Output:
	// zstd true
	// 1300 <nil>
}

func ExampleGzip() {
	c := codec.Encoded(codec.Text(), compress.Gzip(compress.Options{}))
	p, _ := c.Encode("too short to be worth it")
	fmt.Printf("%q %s\n", p.Headers[codec.HeaderContentEncoding], p.Body)
	// Output: "" too short to be worth it
}

func TestEachReadsTheOthers(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("text ", 1000)
	for token, write := range encodings {
		p, err := codec.Encoded(codec.Text(), write(compress.Options{})).Encode(text)
		if err != nil || p.Headers[codec.HeaderContentEncoding] != token || len(p.Body) > 500 {
			t.Fatalf("%s: %d bytes, %v, %v", token, len(p.Body), p.Headers, err)
		}
		for other, read := range encodings {
			if got, err := codec.Encoded(codec.Text(), read(compress.Options{})).Decode(p); got != text || err != nil {
				t.Errorf("%s read by %s: %d bytes, %v", token, other, len(got), err)
			}
		}
	}
}

func TestWhatDoesNotShrinkGoesAsItIs(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 10_000)
	_, _ = rand.Read(noise)
	for token, make := range encodings {
		if _, got, err := make(compress.Options{}).Encode(codec.Payload{Body: noise}); got != "" || err != nil {
			t.Errorf("%s compressed noise: %q, %v", token, got, err)
		}
		if _, got, err := make(compress.Options{MinBytes: -1}).Encode(codec.Payload{}); got != token || err != nil {
			t.Errorf("%s of everything: %q, %v", token, got, err)
		}
	}
}

func TestBombsAndDamage(t *testing.T) {
	t.Parallel()
	for token, make := range encodings {
		bomb, _, err := make(compress.Options{}).Encode(codec.Payload{Body: bytes.Repeat([]byte("0"), 8<<20)})
		if err != nil {
			t.Fatal(err)
		}
		small := make(compress.Options{MaxBytes: 1 << 20})
		if _, err := small.Decode(codec.Payload{Body: bomb}, token); !errors.Is(err, compress.ErrTooLarge) {
			t.Errorf("%s: a bomb of %d bytes: %v", token, len(bomb), err)
		}
		if _, err := make(compress.Options{}).Decode(codec.Payload{Body: bomb[:len(bomb)/2]}, token); err == nil {
			t.Errorf("%s: half of a body was read", token)
		}
		if _, err := make(compress.Options{}).Decode(codec.Payload{Body: []byte("no such thing")}, token); err == nil {
			t.Errorf("%s: read what it is not", token)
		}
	}
}

func TestComposesWithEncryption(t *testing.T) {
	t.Parallel()
	keys, err := encrypt.New(encrypt.Keyring{Current: "1", Keys: map[string][]byte{"1": make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	c := codec.Encoded(codec.JSON[[]int](), compress.Zstd(compress.Options{}), keys)
	values := make([]int, 5000)
	p, err := c.Encode(values)
	if err != nil || p.Headers[codec.HeaderContentEncoding] != "zstd, "+encrypt.Token || len(p.Body) > 500 {
		t.Fatalf("%d bytes, %v, %v", len(p.Body), p.Headers, err)
	}
	if got, err := c.Decode(p); err != nil || len(got) != len(values) {
		t.Errorf("%d values, %v", len(got), err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	for _, make := range encodings {
		c := codec.Encoded(codec.Text(), make(compress.Options{MinBytes: -1}))
		var wait sync.WaitGroup
		for i := range 16 {
			wait.Go(func() {
				text := strings.Repeat(fmt.Sprint(i), 1000)
				p, err := c.Encode(text)
				if err != nil {
					t.Error(err)
				}
				if got, err := c.Decode(p); got != text || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		wait.Wait()
	}
}

func FuzzDecode(f *testing.F) {
	zstd, gzip := compress.Zstd(compress.Options{MinBytes: -1, MaxBytes: 1 << 20}), compress.Gzip(compress.Options{MinBytes: -1, MaxBytes: 1 << 20})
	for _, c := range []*compress.Compression{zstd, gzip} {
		body, _, err := c.Encode(codec.Payload{Body: []byte("text text text text")})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, token := range []string{compress.TokenGzip, compress.TokenZstd} {
			if body, err := zstd.Decode(codec.Payload{Body: b}, token); err == nil && len(body) > 1<<20 {
				t.Fatalf("%s: %d bytes", token, len(body))
			}
		}
		body, _, err := gzip.Encode(codec.Payload{Body: b})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := zstd.Decode(codec.Payload{Body: body}, compress.TokenGzip); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x came back as %x, %v", b, got, err)
		}
	})
}
