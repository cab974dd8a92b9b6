package luks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// chunkSize is how many bytes are encrypted at a time.
const chunkSize = 1 << 20

// Encrypt reads size bytes, a number of whole sectors, and writes them
// encrypted to dst, both from their start on: the first sector of dst is the
// first one behind the header, at DataOffset of the volume. Several processors
// work side by side. dst and src may be the same bytes, which are then encrypted
// in place; if that fails halfway they are lost.
func (v *Volume) Encrypt(ctx context.Context, dst io.WriterAt, src io.ReaderAt, size int64) error {
	if err := v.crypt(ctx, dst, src, size, (*sectorWorker).encrypt); err != nil {
		return fmt.Errorf("encrypting: %w", err)
	}
	return nil
}

// Decrypt is the reverse of Encrypt.
func (v *Volume) Decrypt(ctx context.Context, dst io.WriterAt, src io.ReaderAt, size int64) error {
	if err := v.crypt(ctx, dst, src, size, (*sectorWorker).decrypt); err != nil {
		return fmt.Errorf("decrypting: %w", err)
	}
	return nil
}

func (v *Volume) crypt(ctx context.Context, dst io.WriterAt, src io.ReaderAt, size int64, crypt func(*sectorWorker, []byte, uint64)) error {
	if size < 0 || size%int64(v.sectorSize) != 0 {
		return fmt.Errorf("%d bytes are not a number of whole sectors of %d bytes", size, v.sectorSize)
	}
	c, err := newSectorCipher(v.key)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	workers := int64(runtime.GOMAXPROCS(0))
	for i := range min(workers, (size+chunkSize-1)/chunkSize) {
		g.Go(func() error {
			w, buf := c.newWorker(v.sectorSize), make([]byte, chunkSize)
			for off := i * chunkSize; off < size; off += workers * chunkSize {
				if err := ctx.Err(); err != nil {
					return err
				}
				b := buf[:min(chunkSize, size-off)]
				if n, err := src.ReadAt(b, off); n < len(b) {
					if err == nil || errors.Is(err, io.EOF) {
						err = io.ErrUnexpectedEOF
					}
					return err
				}
				crypt(w, b, uint64(off/ivUnit))
				if _, err := dst.WriteAt(b, off); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
