package btrfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/lzo"
)

const (
	extentHead    = 21
	extentFull    = 53
	extentInline  = 0
	extentRegular = 1
	// maxUnpacked is how large the kernel makes pieces that it compresses.
	maxUnpacked = 128 << 10
)

// The kinds of compression.
const (
	compressNone = iota
	compressZlib
	compressLZO
	compressZstd
)

// parseExtent reads a piece of a file; false is a hole.
func (v *reader) parseExtent(at int64, b []byte, offset int64) (extent, bool, error) {
	if len(b) < extentHead || at < 0 {
		return extent{}, false, fmt.Errorf("a damaged piece of a file")
	}
	x := extent{at: at, compression: b[16], unpacked: int64(le.Uint64(b[8:]))}
	if b[17] != 0 || le.Uint16(b[18:]) != 0 {
		return x, false, fmt.Errorf("encrypted files are not supported")
	}
	if x.compression != compressNone && (x.unpacked <= 0 || x.unpacked > maxUnpacked) {
		return x, false, fmt.Errorf("a compressed piece of %d bytes", uint64(x.unpacked))
	}
	if b[20] == extentInline {
		x.inline, x.offset, x.stored = true, offset+extentHead, int64(len(b)-extentHead)
		if x.compression == compressNone {
			x.unpacked = x.stored
		}
		x.length = x.unpacked
		return x, x.length > 0, nil
	}
	if len(b) < extentFull {
		return x, false, fmt.Errorf("a damaged piece of a file")
	}
	address, stored := le.Uint64(b[21:]), int64(le.Uint64(b[29:]))
	x.skip, x.length, x.stored = int64(le.Uint64(b[37:])), int64(le.Uint64(b[45:])), stored
	if b[20] != extentRegular || address == 0 {
		return x, false, nil // allocated and not written, or nothing at all
	}
	whole := x.unpacked
	if x.compression == compressNone {
		whole = stored
	}
	if stored <= 0 || x.length <= 0 || x.skip < 0 || x.skip > whole || x.length > whole-x.skip {
		return x, false, fmt.Errorf("a piece of %d bytes at %d of %d", x.length, uint64(x.skip), uint64(whole))
	}
	var err error
	x.offset, err = v.locate(address, stored)
	return x, true, err
}

// open returns the content of a file.
func (v *reader) open(n *inode) (io.ReadCloser, error) {
	var runs []content.Run
	packed := false
	for _, x := range n.extents {
		packed = packed || x.compression != compressNone
		runs = append(runs, content.Run{At: x.at, Length: x.length, Offset: x.offset + x.skip})
	}
	if !packed {
		if err := content.CheckRuns(runs, v.size); err != nil {
			return nil, err
		}
		return content.OpenRuns(v.r, n.entry.Size, runs), nil
	}
	return &packedFile{v: v, extents: n.extents, size: n.entry.Size}, nil
}

// packedFile is the content of a file of which some pieces are compressed.
type packedFile struct {
	v        *reader
	extents  []extent
	at, size int64
	rest     []byte
	zeros    int64
}

func (f *packedFile) Close() error { return nil }

func (f *packedFile) Read(p []byte) (int, error) {
	if f.at >= f.size || len(p) == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), f.size-f.at)]
	if len(f.rest) == 0 && f.zeros == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := 0
	if f.zeros > 0 {
		n = int(min(int64(len(p)), f.zeros))
		clear(p[:n])
		f.zeros -= int64(n)
	} else {
		n = copy(p, f.rest)
		f.rest = f.rest[n:]
	}
	f.at += int64(n)
	return n, nil
}

// next reads the piece at the current place, or the hole.
func (f *packedFile) next() error {
	if len(f.extents) == 0 || f.extents[0].at > f.at {
		f.zeros = f.size - f.at
		if len(f.extents) > 0 {
			f.zeros = min(f.zeros, f.extents[0].at-f.at)
		}
		return nil
	}
	x := &f.extents[0]
	if x.at < f.at {
		return fmt.Errorf("the pieces of a file overlap")
	}
	if x.compression == compressNone {
		// A piece at a time, since it may be large.
		n := min(x.length, maxUnpacked)
		f.rest = make([]byte, n)
		if err := content.ReadFull(f.v.r, f.rest, x.offset+x.skip); err != nil {
			return err
		}
		if n < x.length {
			left := *x
			left.at, left.length, left.skip = x.at+n, x.length-n, x.skip+n
			f.extents = append([]extent{left}, f.extents[1:]...)
			return nil
		}
		f.extents = f.extents[1:]
		return nil
	}
	b, err := f.v.unpack(x)
	if err != nil {
		return err
	}
	f.rest = b[x.skip : x.skip+x.length]
	f.extents = f.extents[1:]
	return nil
}

// unpack reads and unpacks a piece. What the packed bytes do not fill is zero.
func (v *reader) unpack(x *extent) ([]byte, error) {
	if x.stored > 2*maxUnpacked {
		return nil, fmt.Errorf("a compressed piece that takes %d bytes", x.stored)
	}
	raw := make([]byte, x.stored)
	if err := content.ReadFull(v.r, raw, x.offset); err != nil {
		return nil, err
	}
	room := make([]byte, x.unpacked)
	var err error
	switch x.compression {
	case compressZlib:
		err = unzlib(raw, room)
	case compressLZO:
		err = v.unlzo(raw, room)
	case compressZstd:
		err = v.unzstd(raw, room)
	default:
		err = fmt.Errorf("compression %d is not supported", x.compression)
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking a piece of a file: %w", err)
	}
	return room, nil
}

func unzlib(raw, room []byte) error {
	z, err := zlib.NewReader(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return fill(z, room)
}

// fill reads as much as there is, or as there is room for.
func fill(r io.Reader, room []byte) error {
	for len(room) > 0 {
		n, err := r.Read(room)
		room = room[n:]
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// unzstd unpacks with one of the decoders that are kept, since making one takes
// longer than unpacking a piece.
func (v *reader) unzstd(raw, room []byte) error {
	d, ok := v.zstd.Get().(*zstd.Decoder)
	if !ok {
		var err error
		d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxUnpacked), zstd.WithDecoderLowmem(true))
		if err != nil {
			return err
		}
	}
	defer v.zstd.Put(d)
	if err := d.Reset(bytes.NewReader(raw)); err != nil {
		return err
	}
	// Behind the packed bytes are zeros up to the end of the sector.
	if err := fill(d, room); !errors.Is(err, zstd.ErrMagicMismatch) {
		return err
	}
	return nil
}

// unlzo unpacks what LZO has packed: behind the length of all, pieces of a
// sector each with their own length, which no sector boundary cuts.
func (v *reader) unlzo(raw, room []byte) error {
	if len(raw) < 4 || int64(le.Uint32(raw)) > int64(len(raw)) {
		return lzo.ErrCorrupt
	}
	raw = raw[:le.Uint32(raw)]
	sector := int(v.SectorSize)
	for at := 4; at < len(raw) && len(room) > 0; {
		if left := sector - at%sector; left < 4 {
			at += left
		}
		if at+4 > len(raw) {
			return lzo.ErrCorrupt
		}
		length := int64(le.Uint32(raw[at:]))
		at += 4
		if length > int64(len(raw)-at) {
			return lzo.ErrCorrupt
		}
		out, err := lzo.Decompress(raw[at:at+int(length)], room[:min(sector, len(room))])
		if err != nil {
			return err
		}
		room = room[len(out):]
		at += int(length)
	}
	return nil
}
