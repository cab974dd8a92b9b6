package content

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Pieces reads the content of a regular file through buf, once, and calls take
// with each piece and its offset. It makes sure that the file has exactly the
// size that its entry says.
func (e *Entry) Pieces(ctx context.Context, buf []byte, take func(piece []byte, off int64) error) (err error) {
	if e.Size == 0 {
		return nil
	}
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		// With one more byte than expected the last piece shows that there is
		// nothing behind it.
		left := e.Size - off
		n, err := io.ReadFull(r, buf[:min(left+1, int64(len(buf)))])
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		switch {
		case err != nil && !end:
			return err
		case int64(n) > left:
			return e.grew()
		case end && int64(n) < left:
			return e.shrank()
		}
		if n > 0 {
			if err := take(buf[:n], off); err != nil {
				return err
			}
			off += int64(n)
		}
		if end {
			return nil
		}
	}
}

// DataPieces is like Pieces, but leaves out the holes.
func (e *Entry) DataPieces(ctx context.Context, buf []byte, take func(piece []byte, off int64) error) (err error) {
	if e.Data == nil {
		return e.Pieces(ctx, buf, take)
	}
	f, err := e.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r, ok := f.(io.ReaderAt)
	if !ok {
		return errors.New("its holes are known, but it can only be read from the beginning")
	}
	for _, data := range e.Data {
		for off, end := data.Offset, data.Offset+data.Size; off < end; {
			if err := ctx.Err(); err != nil {
				return err
			}
			piece := buf[:min(end-off, int64(len(buf)))]
			if err := e.readAt(r, piece, off); err != nil {
				return err
			}
			if err := take(piece, off); err != nil {
				return err
			}
			off += int64(len(piece))
		}
	}
	return e.checkEnd(r)
}

// readAt reads a whole piece.
func (e *Entry) readAt(r io.ReaderAt, piece []byte, off int64) error {
	n, err := r.ReadAt(piece, off)
	switch {
	case n == len(piece):
		return nil
	case errors.Is(err, io.EOF):
		return e.shrank()
	}
	return err
}

// checkEnd makes sure that a file still ends where its entry says, which the
// data alone does not show if a hole is the end.
func (e *Entry) checkEnd(r io.ReaderAt) error {
	var last [1]byte
	if err := e.readAt(r, last[:], e.Size-1); err != nil {
		return err
	}
	n, err := r.ReadAt(last[:], e.Size)
	switch {
	case n > 0:
		return e.grew()
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

func (e *Entry) shrank() error {
	return fmt.Errorf("shrank below %d bytes while it was being copied", e.Size)
}

func (e *Entry) grew() error {
	return fmt.Errorf("grew beyond %d bytes while it was being copied", e.Size)
}
