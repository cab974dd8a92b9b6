package erofs

import (
	"context"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// copySize is how much of a file is copied at a time.
const copySize = 256 << 10

// headWriter keeps the first block back, because its checksum can only be
// computed when everything in it is there.
type headWriter struct {
	w     io.WriterAt
	mu    sync.Mutex
	block [BlockSize]byte
}

func (h *headWriter) WriteAt(p []byte, off int64) (int, error) {
	n := 0
	if off < BlockSize {
		h.mu.Lock()
		n = copy(h.block[off:], p)
		h.mu.Unlock()
	}
	if n == len(p) {
		return n, nil
	}
	m, err := h.w.WriteAt(p[n:], off+int64(n))
	return n + m, err
}

// writeNode writes an inode and its data. buf is scratch space.
func (im *Image) writeNode(ctx context.Context, w io.WriterAt, n *node, buf []byte) error {
	head := n.inode()
	head = append(head, n.xattrs...)
	var err error
	switch t := n.entry.Type(); {
	case n.stored():
		if n.layout == layoutCompact {
			head = append(head, make([]byte, -len(head)&7)...)
			head = append(head, n.indexHead(im.algorithm())...)
			err = n.writeIndex(w, n.offset()+int64(len(head)), buf)
		}
	case t == unix.S_IFDIR:
		head, err = n.writeData(w, head, encodeDir(n.children))
	case t == unix.S_IFLNK:
		head, err = n.writeData(w, head, []byte(n.entry.Target))
	case t == unix.S_IFREG:
		head, err = n.copyData(ctx, w, head, buf)
	}
	if err != nil {
		return err
	}
	_, err = w.WriteAt(head, n.offset())
	return err
}

// writeData writes the blocks of data and appends its tail to head.
func (n *node) writeData(w io.WriterAt, head, data []byte) ([]byte, error) {
	whole := len(data) - int(n.tail)
	if whole > 0 {
		if _, err := w.WriteAt(data[:whole], int64(n.block)*BlockSize); err != nil {
			return nil, err
		}
	}
	return append(head, data[whole:]...), nil
}

// copyData is writeData for the content of a file.
func (n *node) copyData(ctx context.Context, w io.WriterAt, head, buf []byte) ([]byte, error) {
	whole := n.size - n.tail
	err := n.entry.Pieces(ctx, buf, func(p []byte, off int64) error {
		if rest := max(0, whole-off); rest < int64(len(p)) {
			head = append(head, p[rest:]...)
			p = p[:rest]
		}
		if len(p) == 0 {
			return nil
		}
		_, err := w.WriteAt(p, int64(n.block)*BlockSize+off)
		return err
	})
	return head, err
}
