package kafka

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/IBM/sarama"
)

// unzstd decodes zstd, from any goroutine.
var unzstd = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0))
})

// zstds encode zstd, from any goroutine.
var zstds = sync.OnceValues(func() (*zstd.Encoder, error) { return zstd.NewWriter(nil, zstd.WithZeroFrames(true)) })

// A compressor is of gzip or lz4, and is used again.
type compressor interface {
	io.WriteCloser
	Reset(to io.Writer)
}

var (
	gzips = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	lz4s  = sync.Pool{New: func() any {
		w := lz4.NewWriter(nil)
		_ = w.Apply(lz4.BlockSizeOption(lz4.Block64Kb)) // Java's clients take no others
		return w
	}}
)

// compress adds data to b, compressed.
func compress(codec sarama.CompressionCodec, b, data []byte) ([]byte, error) {
	pool := &gzips
	switch codec {
	case sarama.CompressionSnappy:
		return append(b, xerial.Encode(nil, data)...), nil
	case sarama.CompressionZSTD:
		e, err := zstds()
		if err != nil {
			return nil, err
		}
		return e.EncodeAll(data, b), nil
	case sarama.CompressionLZ4:
		pool = &lz4s
	}
	c := pool.Get().(compressor)
	defer pool.Put(c)
	to := bytes.NewBuffer(b)
	c.Reset(to)
	if _, err := c.Write(data); err != nil {
		return nil, err
	}
	err := c.Close()
	return to.Bytes(), err
}

// decompress undoes what a producer did to a batch.
func decompress(codec sarama.CompressionCodec, data []byte) ([]byte, error) {
	switch codec {
	case sarama.CompressionNone:
		return data, nil
	case sarama.CompressionGZIP:
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	case sarama.CompressionSnappy:
		return xerial.Decode(data)
	case sarama.CompressionLZ4:
		return io.ReadAll(lz4.NewReader(bytes.NewReader(data)))
	case sarama.CompressionZSTD:
		d, err := unzstd()
		if err != nil {
			return nil, err
		}
		return d.DecodeAll(data, nil)
	default:
		return nil, fmt.Errorf("compression %d is unknown", codec)
	}
}
