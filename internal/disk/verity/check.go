package verity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// MaxBad is how many bad blocks Check looks for.
const MaxBad = 100

// DataLevel is the level of a BadBlock that is one of the data.
const DataLevel = -1

// BadBlock is a block whose digest is not the one that the level above it has.
type BadBlock struct {
	// Level is DataLevel for a block of the data, else the level of the hash
	// tree, counted from the one right above the data, which is 0.
	Level int
	// Block is its number within the data or the level, from 0.
	Block int64
	// Offset is where it is, in bytes from the start of the data, or of the
	// superblock for one of the hash tree.
	Offset int64
}

// String describes the block in a few words.
func (b BadBlock) String() string {
	if b.Level == DataLevel {
		return fmt.Sprintf("data block %d (at byte %d of the data)", b.Block, b.Offset)
	}
	return fmt.Sprintf("hash block %d of level %d (at byte %d of the hashes)", b.Block, b.Level, b.Offset)
}

// RootHash returns the root hash that a hash tree has, without looking at more
// than the block at its top; of data that is a single block, that is the data.
func RootHash(data, tree io.ReaderAt, sb Superblock) ([]byte, error) {
	if err := sb.supported(); err != nil {
		return nil, err
	}
	return newChecker(data, tree, sb).rootHash()
}

// Check compares data with a hash tree and returns the root hash that the tree
// has, to be compared with the one that is expected, and the blocks that are
// bad: those of the tree from the top, then those of the data, each in order.
// A block that differs from a digest in a bad hash block is not blamed. Check
// ends when it has found MaxBad of them. The error is for what could not be
// read, such as data that is shorter than sb says, or for a kind of tree that
// is not supported.
func Check(ctx context.Context, data, tree io.ReaderAt, sb Superblock) (rootHash []byte, bad []BadBlock, err error) {
	if err := sb.supported(); err != nil {
		return nil, nil, err
	}
	c := newChecker(data, tree, sb)
	if rootHash, err = c.rootHash(); err != nil {
		return nil, nil, err
	}
	for level := len(c.levels) - 2; level >= DataLevel && len(bad) < MaxBad; level-- {
		found, err := c.checkLevel(ctx, level, MaxBad-len(bad))
		if err != nil {
			return nil, nil, err
		}
		bad = append(bad, found...)
	}
	return rootHash, bad, nil
}

// checker checks one hash tree. Level -1, DataLevel, is the data.
type checker struct {
	*geometry
	salt       []byte
	data, tree io.ReaderAt
}

func newChecker(data, tree io.ReaderAt, sb Superblock) *checker {
	return &checker{
		geometry: newGeometry(sb.DataBlocks, sb.DataBlockSize, sb.HashBlockSize),
		salt:     sb.Salt, data: data, tree: tree,
	}
}

func (c *checker) rootHash() ([]byte, error) {
	top := len(c.levels) - 1
	block := make([]byte, c.blockSize(top))
	if err := c.read(top, 0, block); err != nil {
		return nil, err
	}
	root := newHasher(c.salt).digest(block)
	return root[:], nil
}

func (c *checker) blockSize(level int) int {
	if level == DataLevel {
		return c.dataBlock
	}
	return c.hashBlock
}

func (c *checker) blocks(level int) int64 {
	if level == DataLevel {
		return c.dataBlocks
	}
	return c.levels[level].blocks
}

// read reads blocks of a level from a certain one on.
func (c *checker) read(level int, first int64, b []byte) error {
	if level == DataLevel {
		if err := readFull(c.data, b, first*int64(c.dataBlock)); err != nil {
			return fmt.Errorf("reading verity data: %w", err)
		}
		return nil
	}
	if err := readFull(c.tree, b, c.levels[level].offset+first*int64(c.hashBlock)); err != nil {
		return fmt.Errorf("reading verity hashes: %w", err)
	}
	return nil
}

// errEnough ends the search for bad blocks.
var errEnough = errors.New("enough bad blocks found")

// checkLevel returns the first bad blocks of a level below the top, no more
// than limit.
func (c *checker) checkLevel(ctx context.Context, level, limit int) ([]BadBlock, error) {
	var bad []BadBlock
	blocks, perChunk := c.blocks(level), int64(chunkSize/c.blockSize(level))
	newWorker := func() func(int64) ([]BadBlock, error) {
		w := &levelWorker{checker: c, level: level, hasher: newHasher(c.salt), buf: make([]byte, chunkSize)}
		return func(chunk int64) ([]BadBlock, error) {
			first := chunk * perChunk
			return w.check(first, min(perChunk, blocks-first))
		}
	}
	err := inOrder(ctx, (blocks-1)/perChunk+1, newWorker, func(found []BadBlock) error {
		bad = append(bad, found...)
		if len(bad) >= limit {
			bad = bad[:limit]
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return bad, nil
}

// levelWorker checks parts of a level.
type levelWorker struct {
	*checker
	level        int
	hasher       *hasher
	buf, parents []byte
}

// check returns the bad ones of some blocks of the level.
func (w *levelWorker) check(first, count int64) ([]BadBlock, error) {
	size, per := w.blockSize(w.level), w.perBlock()
	buf := w.buf[:int(count)*size]
	if err := w.read(w.level, first, buf); err != nil {
		return nil, err
	}
	firstParent := first / per
	w.parents = append(w.parents[:0], make([]byte, ((first+count-1)/per-firstParent+1)*int64(w.hashBlock))...)
	if err := w.read(w.level+1, firstParent, w.parents); err != nil {
		return nil, err
	}
	var bad []BadBlock
	trusted := map[int64]bool{}
	for i := range count {
		n := first + i
		want := w.parents[(n-firstParent*per)*digestSize:][:digestSize]
		digest := w.hasher.digest(buf[int(i)*size:][:size])
		if bytes.Equal(digest[:], want) {
			continue
		}
		parent := n / per
		good, known := trusted[parent]
		if !known {
			var err error
			if good, err = w.trusted(w.level+1, parent); err != nil {
				return nil, err
			}
			trusted[parent] = good
		}
		if good {
			bad = append(bad, w.badBlock(n))
		}
	}
	return bad, nil
}

// badBlock describes a block of the level.
func (w *levelWorker) badBlock(n int64) BadBlock {
	b := BadBlock{Level: w.level, Block: n, Offset: n * int64(w.blockSize(w.level))}
	if w.level != DataLevel {
		b.Offset += w.levels[w.level].offset
	}
	return b
}

// trusted reports whether a hash block and all that it depends on are as the
// levels above say.
func (w *levelWorker) trusted(level int, n int64) (bool, error) {
	block, parent := make([]byte, w.hashBlock), make([]byte, w.hashBlock)
	for ; level < len(w.levels)-1; level++ {
		if err := w.read(level, n, block); err != nil {
			return false, err
		}
		if err := w.read(level+1, n/w.perBlock(), parent); err != nil {
			return false, err
		}
		digest := w.hasher.digest(block)
		if !bytes.Equal(digest[:], parent[n%w.perBlock()*digestSize:][:digestSize]) {
			return false, nil
		}
		n /= w.perBlock()
	}
	return true, nil
}
