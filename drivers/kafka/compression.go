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
