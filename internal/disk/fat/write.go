package fat

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
)

const (
	// copySize is how much of a file is copied at a time.
	copySize = 256 << 10
	// zeroSize is the unit in which zeros are left out.
	zeroSize = 4096
	// tableChunk is how much of a table is encoded at a time; a multiple of
	// three bytes, which are two entries of a FAT12.
	tableChunk = 96 << 10
)

// writer writes one file system.
type writer struct {
	*Image
	*volume
	w io.WriterAt
	// first is where each node starts; zero for empty files and for a root
	// folder without clusters.
	first []uint32
}

// Write writes the file system to the start of w, which must be all zero as far
// as size reaches. The file system has that size in bytes, or a little less.
// When it fails, w holds a part of it.
func (im *Image) Write(ctx context.Context, w io.WriterAt, size int64) error {
	v, err := im.choose(size)
	if err != nil {
		return err
	}
	wr := &writer{im, v, w, make([]uint32, len(im.nodes))}
	used := int64(0)
	for _, n := range im.nodes {
		count := wr.count(n)
		if count > 0 {
			wr.first[n.index] = uint32(firstCluster + used)
		}
		used += count
	}
	if err := wr.writeHead(used); err != nil {
		return err
	}
	if err := wr.writeTables(ctx); err != nil {
		return err
	}
	return wr.writeNodes(ctx)
}

// count is how many clusters a node takes.
func (w *writer) count(n *node) int64 {
	if n.parent == nil && w.root > 0 {
		return 0
	}
	return n.clusters(w.volume)
}

// writeHead writes what is in front of the tables.
func (w *writer) writeHead(used int64) error {
	sectors := map[int64][]byte{0: w.bootSector(w.volume)}
	if w.bits == 32 {
		sectors[infoSector] = w.information(used)
		sectors[backupSector] = sectors[0]
		sectors[backupSector+infoSector] = sectors[infoSector]
	}
	for n, b := range sectors {
		if err := w.writeSparse(b, n*w.sector); err != nil {
			return err
		}
	}
	return nil
}

// writeTables writes all tables, as far as they are not zero.
func (w *writer) writeTables(ctx context.Context) error {
	t := tableEncoder{bits: w.bits}
	offset := int64(0)
	flush := func() error {
		for n := range w.copies {
			if err := w.writeSparse(t.b, w.tableOffset(n)+offset); err != nil {
				return err
			}
		}
		offset += int64(len(t.b))
		t.b = t.b[:0]
		return ctx.Err()
	}
	end := uint32(1)<<min(w.bits, 28) - 1
	t.put(end&^0xff | media)
	t.put(end) // cleanly unmounted, no errors
	for _, n := range w.nodes {
		for i := w.count(n); i > 0; i-- {
			value := uint32(t.next + 1)
			if i == 1 {
				value = end
			}
			if t.put(value); len(t.b) == tableChunk {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	t.pad()
	return flush()
}

// tableEncoder encodes the entries of a table one after the other.
type tableEncoder struct {
	bits int
	b    []byte
	next int
	half byte // four bits of a FAT12 that have no byte yet
}

func (t *tableEncoder) put(value uint32) {
	le := binary.LittleEndian
	switch {
	case t.bits == 32:
		t.b = le.AppendUint32(t.b, value)
	case t.bits == 16:
		t.b = le.AppendUint16(t.b, uint16(value))
	case t.next%2 == 0:
		t.b = append(t.b, byte(value))
		t.half = byte(value >> 8)
	default:
		t.b = append(t.b, byte(value<<4)|t.half, byte(value>>4))
		t.half = 0
	}
	t.next++
}

// pad completes the last byte.
func (t *tableEncoder) pad() {
	if t.bits == 12 && t.next%2 == 1 {
		t.b = append(t.b, t.half)
	}
}

// writeNodes writes all folders and files, several at a time.
func (w *writer) writeNodes(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	workers := max(2, runtime.GOMAXPROCS(0))
	queue := make(chan *node, workers)
	g.Go(func() error {
		defer close(queue)
		for _, n := range w.nodes {
			if n.length == 0 {
				continue
			}
			select {
			case queue <- n:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			buf := make([]byte, copySize)
			for n := range queue {
				if err := w.writeNode(ctx, n, buf); err != nil {
					return fmt.Errorf("/%s: %w", n.path, err)
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// writeNode writes what is in a folder or file. buf is scratch space.
func (w *writer) writeNode(ctx context.Context, n *node, buf []byte) error {
	offset := w.offset(w.first[n.index])
	if w.count(n) == 0 {
		offset = w.rootOffset()
	}
	if n.entry.IsDir() {
		return w.writeSparse(w.encodeDir(n, func(n *node) uint32 { return w.first[n.index] }), offset)
	}
	return n.entry.Pieces(ctx, buf, func(p []byte, off int64) error {
		return w.writeSparse(p, offset+off)
	})
}

// zeros is what is not written.
var zeros [zeroSize]byte

// writeSparse writes b but for pieces that are all zero.
func (w *writer) writeSparse(b []byte, off int64) error {
	start := 0 // of what is to be written
	flush := func(end int) error {
		if start == end {
			return nil
		}
		_, err := w.w.WriteAt(b[start:end], off+int64(start))
		return err
	}
	for at := 0; at < len(b); at += zeroSize {
		piece := b[at:min(at+zeroSize, len(b))]
		if !bytes.Equal(piece, zeros[:len(piece)]) {
			continue
		}
		if err := flush(at); err != nil {
			return err
		}
		start = at + len(piece)
	}
	return flush(len(b))
}
