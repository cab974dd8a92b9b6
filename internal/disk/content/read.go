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
			return fmt.Errorf("grew beyond %d bytes while it was being copied", e.Size)
		case end && int64(n) < left:
			return fmt.Errorf("shrank below %d bytes while it was being copied", e.Size)
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
