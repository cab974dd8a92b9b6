package erofs

import (
	"errors"
	"math/bits"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// lz4Distance is how far back an LZ4 block may refer.
const lz4Distance = 65535

// encoderMemory bounds what all encoders of a step take together, in bytes.
const encoderMemory = 80 << 20

// encoder compresses chunks. It is used by one goroutine at a time.
type encoder struct {
	zstd *zstd.Encoder
	lz4  *lz4.Compressor
}

// encoders returns as many encoders as compress at the same time.
func encoders(o Options) ([]*encoder, error) {
	level := zstd.EncoderLevelFromZstd(o.Level)
	if o.Level == 0 {
		level = zstd.SpeedDefault
	}
	count := runtime.GOMAXPROCS(0)
	if o.Compression == Zstd && level == zstd.SpeedBestCompression {
		// The tables of the others take about a megabyte, these 34.
		count = min(count, encoderMemory/(34<<20))
	}
	all := make([]*encoder, count)
	for i := range all {
		e := &encoder{}
		all[i] = e
		if o.Compression == LZ4 {
			e.lz4 = &lz4.Compressor{}
			continue
		}
		var err error
		e.zstd, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(level),
			zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false),
			zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(1<<bits.Len(uint(o.ChunkSize-1))))
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// encodedSize is how much room the longest encoding of a chunk takes, with a
// block of zeros in front.
func encodedSize(chunk int) int { return BlockSize + chunk + chunk/255 + 64 }

// encode returns a chunk as it is stored, a number of whole blocks: compressed
// into out with zeros in front, or p itself when that does not save a block. p
// is a number of whole blocks too, and size how much of it counts. The length
// of out is encodedSize.
func (e *encoder) encode(out, p []byte, size int) ([]byte, error) {
	largest := len(p) - BlockSize
	if largest <= 0 {
		return p, nil
	}
	compressed := 0
	if e.lz4 != nil {
		n, err := e.lz4.CompressBlock(p[:size], out[BlockSize:BlockSize+largest])
		if err != nil && !errors.Is(err, lz4.ErrInvalidSourceShortBuffer) {
			return nil, err
		}
		compressed = n
	} else {
		compressed = len(e.zstd.EncodeAll(p[:size], out[:BlockSize])) - BlockSize
	}
	if compressed == 0 || compressed > largest {
		return p, nil
	}
	padding := -compressed & (BlockSize - 1)
	return out[BlockSize-padding : BlockSize+compressed], nil
}
