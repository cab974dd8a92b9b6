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

// encoderMemory bounds what all encoders take together with their chunks, in
// bytes, so that many processors do not need more memory than they are worth.
const encoderMemory = 80 << 20

// tableMemory is about what an encoder takes by itself, in bytes.
var tableMemory = map[zstd.EncoderLevel]int{
	zstd.SpeedFastest:           1 << 20,
	zstd.SpeedDefault:           2 << 20,
	zstd.SpeedBetterCompression: 6 << 20,
	zstd.SpeedBestCompression:   36 << 20,
}

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
	// Each has two chunks, before and after compression.
	each := tableMemory[level] + 4*o.ChunkSize
	all := make([]*encoder, min(runtime.GOMAXPROCS(0), encoderMemory/each))
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
	if e.lz4 == nil {
		out = e.zstd.EncodeAll(p[:size], out[:BlockSize])
		compressed = len(out) - BlockSize
	} else {
		n, err := e.lz4.CompressBlock(p[:size], out[BlockSize:BlockSize+largest])
		if err != nil && !errors.Is(err, lz4.ErrInvalidSourceShortBuffer) {
			return nil, err
		}
		compressed = n
	}
	if compressed == 0 || compressed > largest {
		return p, nil
	}
	padding := -compressed & (BlockSize - 1)
	return out[BlockSize-padding : BlockSize+compressed], nil
}
