package squashfs

import (
	"fmt"
	"io"
)

// uncompressedBlock marks the length of a block that is stored as it is.
const uncompressedBlock = 1 << 24

// noFragment is the number of the fragment of a file without one.
const noFragment = ^uint32(0)

// file is the content of a file, block after block.
type file struct {
	v     *reader
	n     *inode
	at    int64 // where the next block starts in the image
	left  int64 // of the file, behind rest
	rest  []byte
	zeros int64 // of a hole that is being read
}

func (v *reader) open(ref uint64) (io.ReadCloser, error) {
	n, err := v.readInode(ref)
	if err != nil {
		return nil, err
	}
	return &file{v: v, n: n, at: n.start, left: n.entry.Size}, nil
}

func (f *file) Close() error { return nil }

func (f *file) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(f.rest) == 0 && f.zeros == 0 {
		if f.left == 0 {
			return 0, io.EOF
		}
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	if f.zeros > 0 {
		n := min(int64(len(p)), f.zeros)
		clear(p[:n])
		f.zeros -= n
		return int(n), nil
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// next reads the next block, or the fragment that the file ends with.
func (f *file) next() error {
	size := min(f.left, f.v.BlockSize)
	if size < f.v.BlockSize && f.n.fragment != noFragment {
		b, err := f.v.readFragment(f.n.fragment)
		if err != nil {
			return fmt.Errorf("reading a fragment: %w", err)
		}
		if f.n.offset > int64(len(b)) || size > int64(len(b))-f.n.offset {
			return fmt.Errorf("%d bytes at %d of a fragment of %d", size, f.n.offset, len(b))
		}
		f.rest, f.left = b[f.n.offset:f.n.offset+size], 0
		return nil
	}
	b, err := f.n.lengths.bytes(4)
	if err != nil {
		return err
	}
	length := le.Uint32(b)
	f.left -= size
	if length == 0 {
		f.zeros = size
		return nil
	}
	data, err := f.v.readBlock(f.at, length)
	if err != nil {
		return err
	}
	if int64(len(data)) != size {
		return fmt.Errorf("a block of %d bytes where %d belong", len(data), size)
	}
	f.rest = data
	f.at += int64(length &^ uncompressedBlock)
	return nil
}

// readBlock reads and unpacks a block of files.
func (v *reader) readBlock(at int64, length uint32) ([]byte, error) {
	size := int64(length &^ uncompressedBlock)
	if size > v.BlockSize {
		return nil, fmt.Errorf("a block of %d bytes at %d", size, at)
	}
	raw := make([]byte, size)
	if err := v.readAt(raw, at); err != nil {
		return nil, err
	}
	if length&uncompressedBlock != 0 {
		return raw, nil
	}
	data, err := v.unpack(raw, make([]byte, v.BlockSize))
	if err != nil {
		return nil, fmt.Errorf("unpacking the block at %d: %w", at, err)
	}
	return data, nil
}

// readFragment reads the block that holds the ends of files.
func (v *reader) readFragment(number uint32) ([]byte, error) {
	if int64(number) >= v.fragments {
		return nil, fmt.Errorf("there is no fragment %d", number)
	}
	b, err := v.entry(v.fragmentTable, int64(number), 16)
	if err != nil {
		return nil, err
	}
	at := int64(le.Uint64(b))
	v.mu.Lock()
	defer v.mu.Unlock()
	if b, ok := v.fragment.blocks[at]; ok {
		return b.data, nil
	}
	data, err := v.readBlock(at, le.Uint32(b[8:]))
	if err == nil {
		v.fragment.put(at, block{data: data})
	}
	return data, err
}
