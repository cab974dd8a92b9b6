package inspect

import (
	"bytes"
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// comparePiece is how much is compared at once.
const comparePiece = 1 << 20

// sameBytes reports whether two pieces of the same size are the same. Trees of
// the host have no bytes, and are not.
func sameBytes(ctx context.Context, a, b io.ReaderAt, sizeA, sizeB int64) (bool, error) {
	if a == nil || b == nil || sizeA != sizeB {
		return false, nil
	}
	const workers = 4
	errDiffer := errors.New("differ")
	g, ctx := errgroup.WithContext(ctx)
	for w := range int64(workers) {
		g.Go(func() error {
			p, q := make([]byte, comparePiece), make([]byte, comparePiece)
			for at := w * comparePiece; at < sizeA; at += workers * comparePiece {
				if err := ctx.Err(); err != nil {
					return err
				}
				n := min(sizeA-at, comparePiece)
				if err := readPair(a, b, p[:n], q[:n], at); err != nil {
					return err
				}
				if !bytes.Equal(p[:n], q[:n]) {
					return errDiffer
				}
			}
			return nil
		})
	}
	err := g.Wait()
	if errors.Is(err, errDiffer) {
		return false, nil
	}
	return err == nil, err
}

func readPair(a, b io.ReaderAt, p, q []byte, at int64) error {
	if err := content.ReadFull(a, p, at); err != nil {
		return err
	}
	return content.ReadFull(b, q, at)
}

// firstDifference returns the offset of the first byte in which two streams
// differ, or -1 if they are the same. One that ends before the other differs
// from it there.
func firstDifference(ctx context.Context, a, b io.Reader) (int64, error) {
	p, q := make([]byte, comparePiece/4), make([]byte, comparePiece/4)
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, errA := fill(a, p)
		m, errB := fill(b, q)
		if same := min(n, m); !bytes.Equal(p[:same], q[:same]) {
			for i := range same {
				if p[i] != q[i] {
					return at + int64(i), nil
				}
			}
		}
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF {
				return 0, err
			}
		}
		if n != m {
			return at + int64(min(n, m)), nil
		}
		if errA != nil {
			return -1, nil
		}
		at += int64(n)
	}
}
