// Package compress compresses message bodies with gzip or zstd, as an encoding for
// codec.Encoded:
//
//	c := codec.Encoded(codec.JSON[Order](), compress.Zstd(compress.Options{}))
//
// The header content-encoding says "gzip" or "zstd", as in HTTP. Both read both, and a body
// without it as it is, so that publishers and readers may change one after the other. What
// is damaged, or larger than Options.MaxBytes, is an error that is permanent.
package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/waybill-go/waybill/codec"
)

// The tokens in the header content-encoding.
const (
	TokenGzip = "gzip"
	TokenZstd = "zstd"
)

// ErrTooLarge is the error of a body that is larger than Options.MaxBytes when decompressed.
var ErrTooLarge = errors.New("decompressed body is too large")

// Options are for both. The zero value is useful.
type Options struct {
	// MinBytes is the smallest body that is compressed; default 512, negative: every one. A
	// body that compression would not make smaller goes as it is.
	MinBytes int
	// MaxBytes is the largest that a body may be when it is decompressed; default 64 MiB. It
	// keeps a small message from filling the memory.
	MaxBytes int
}

// Compression is an encoding that compresses.
type Compression struct {
	options Options
	token   string
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	writers sync.Pool // of *gzip.Writer
}

var _ codec.Encoding = (*Compression)(nil)

// Gzip compresses with gzip, which everything reads.
func Gzip(options Options) *Compression { return compression(options, TokenGzip) }

// Zstd compresses with Zstandard, which is faster and smaller.
func Zstd(options Options) *Compression { return compression(options, TokenZstd) }

func compression(options Options, token string) *Compression {
	if options.MinBytes == 0 {
		options.MinBytes = 512
	}
	if options.MaxBytes <= 0 {
		options.MaxBytes = 64 << 20
	}
	c := &Compression{options: options, token: token}
	c.writers.New = func() any { return gzip.NewWriter(nil) }
	// These options are valid, so there is no error. Neither has goroutines of its own at
	// work: EncodeAll and DecodeAll alone are used.
	c.encoder, _ = zstd.NewWriter(nil)
	c.decoder, _ = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(uint64(options.MaxBytes)), zstd.WithDecoderConcurrency(0)) //nolint:gosec // positive
	return c
}

// Encode compresses a body, unless it is small or would not become smaller.
func (c *Compression) Encode(p codec.Payload) ([]byte, string, error) {
	if len(p.Body) < c.options.MinBytes {
		return nil, "", nil
	}
	var out []byte
	if c.token == TokenZstd {
		out = c.encoder.EncodeAll(p.Body, nil)
	} else {
		var err error
		if out, err = c.gzip(p.Body); err != nil {
			return nil, "", fmt.Errorf("compress: %w", err)
		}
	}
	if c.options.MinBytes >= 0 && len(out) >= len(p.Body) {
		return nil, "", nil
	}
	return out, c.token, nil
}

func (c *Compression) gzip(body []byte) ([]byte, error) {
	w, _ := c.writers.Get().(*gzip.Writer) // the pool makes nothing else
	defer c.writers.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Accepts knows both tokens, and HTTP's old name x-gzip.
func (c *Compression) Accepts(token string) bool {
	return token == TokenGzip || token == TokenZstd || token == "x-gzip"
}

// Optional is true: what is not compressed is taken as it is.
func (c *Compression) Optional() bool { return true }

// Decode decompresses a body.
func (c *Compression) Decode(p codec.Payload, token string) ([]byte, error) {
	if token == TokenZstd {
		body, err := c.decoder.DecodeAll(p.Body, nil)
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded), len(body) > c.options.MaxBytes:
			return nil, c.tooLarge()
		case err != nil:
			return nil, fmt.Errorf("decompress zstd: %w", err)
		}
		return body, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(p.Body))
	if err != nil {
		return nil, fmt.Errorf("decompress gzip: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(c.options.MaxBytes)+1))
	if err != nil {
		return nil, fmt.Errorf("decompress gzip: %w", err)
	}
	if len(body) > c.options.MaxBytes {
		return nil, c.tooLarge()
	}
	return body, nil
}

func (c *Compression) tooLarge() error {
	return fmt.Errorf("decompress: %w: more than %d bytes; raise Options.MaxBytes if that is right", ErrTooLarge, c.options.MaxBytes)
}
