package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// CPIOHeader is one entry of a cpio archive.
type CPIOHeader struct {
	Name         string // as stored; it may hold anything but NUL
	Inode        uint32
	Mode         uint32 // type and permission bits as in stat(2)
	UID, GID     uint32
	Links        uint32
	ModTime      time.Time // whole seconds
	Size         int64     // of the content that follows, up to 4 GiB
	Major, Minor uint32    // of the device that a device node stands for
}

// CPIOReader reads a cpio archive in the newc format, with or without
// checksums, entry by entry. Sums are not verified, as the kernel does not.
type CPIOReader struct {
	r    io.Reader
	left int64 // of the current entry's content
	pad  int64 // after it
}

// NewCPIOReader returns a reader of the uncompressed archive r.
func NewCPIOReader(r io.Reader) *CPIOReader { return &CPIOReader{r: r} }

const cpioHeaderSize = 110

// Next skips what is left of the current entry and returns the next one. At
// the archive's trailer the error is io.EOF; what may follow it is not read.
// An archive that ends without a trailer is io.ErrUnexpectedEOF.
func (c *CPIOReader) Next() (*CPIOHeader, error) {
	if _, err := io.CopyN(io.Discard, c.r, c.left+c.pad); err != nil {
		return nil, unexpected(err)
	}
	c.left, c.pad = 0, 0
	var raw [cpioHeaderSize]byte
	if _, err := io.ReadFull(c.r, raw[:]); err != nil {
		return nil, unexpected(err)
	}
	if !bytes.HasPrefix(raw[:], []byte("070701")) && !bytes.HasPrefix(raw[:], []byte("070702")) {
		return nil, errors.New("not a cpio archive in the newc format")
	}
	var f [13]uint32
	for i := range f {
		n, err := strconv.ParseUint(string(raw[6+8*i:14+8*i]), 16, 32)
		if err != nil {
			return nil, fmt.Errorf("cpio header: %w", err)
		}
		f[i] = uint32(n)
	}
	name, err := c.name(f[11])
	if err != nil {
		return nil, err
	}
	if name == cpioTrailer {
		return nil, io.EOF
	}
	h := &CPIOHeader{Name: name, Inode: f[0], Mode: f[1], UID: f[2], GID: f[3], Links: f[4],
		ModTime: time.Unix(int64(f[5]), 0), Size: int64(f[6]), Major: f[9], Minor: f[10]}
	c.left, c.pad = h.Size, -h.Size&3
	return h, nil
}

// name reads an entry's name of size bytes, its NUL and padding included.
func (c *CPIOReader) name(size uint32) (string, error) {
	if size < 2 || size > maxNameLength {
		return "", fmt.Errorf("cpio entry with a name of %d bytes", size)
	}
	b := make([]byte, int64(size)+(-(cpioHeaderSize+int64(size))&3))
	if _, err := io.ReadFull(c.r, b); err != nil {
		return "", unexpected(err)
	}
	if i := bytes.IndexByte(b, 0); i != int(size)-1 {
		return "", errors.New("cpio entry whose name does not end where it should")
	}
	return string(b[:size-1]), nil
}

// Read reads the content of the current entry.
func (c *CPIOReader) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if c.left > 0 {
		err = unexpected(err)
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
