package archive

import (
	"io"
	"sync/atomic"
)

// aheadChunk is how much is handed to the slower side at once.
const aheadChunk = 1 << 20

// aheadWriter lets its caller read files while what was read before is being
// written, or compressed, by a goroutine of its own.
type aheadWriter struct {
	buf  []byte // being filled
	full chan []byte
	free chan []byte
	done chan error
	fail atomic.Pointer[error] // set once writing has failed
}

func newAheadWriter(w io.Writer) *aheadWriter {
	a := &aheadWriter{full: make(chan []byte, 2), free: make(chan []byte, 4), done: make(chan error, 1)}
	for range cap(a.free) {
		a.free <- nil
	}
	go func() {
		var err error
		for b := range a.full {
			// After an error the rest is only drained, so that the other side
			// never waits for a buffer.
			if err == nil {
				if _, err = w.Write(b); err != nil {
					a.fail.Store(&err)
				}
			}
			a.free <- b[:0]
		}
		a.done <- err
	}()
	a.next()
	return a
}

func (a *aheadWriter) next() {
	a.buf = <-a.free
	if a.buf == nil {
		a.buf = make([]byte, 0, aheadChunk)
	}
}

func (a *aheadWriter) flush() error {
	if len(a.buf) > 0 {
		a.full <- a.buf
		a.next()
	}
	if err := a.fail.Load(); err != nil {
		return *err
	}
	return nil
}

// Write takes b. The error may be that of an earlier Write; Close reports it too.
func (a *aheadWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		m := copy(a.buf[len(a.buf):cap(a.buf)], b)
		a.buf, b = a.buf[:len(a.buf)+m], b[m:]
		if len(a.buf) == cap(a.buf) {
			if err := a.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// ReadFull takes n bytes of r; fewer are io.ErrUnexpectedEOF.
func (a *aheadWriter) ReadFull(r io.Reader, n int64) error {
	for n > 0 {
		space := a.buf[len(a.buf):cap(a.buf)]
		m, err := io.ReadFull(r, space[:min(int64(len(space)), n)])
		a.buf = a.buf[:len(a.buf)+m]
		n -= int64(m)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if len(a.buf) == cap(a.buf) {
			if err := a.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close writes what is left and returns the first error of writing.
func (a *aheadWriter) Close() error {
	_ = a.flush() // its error is that of done
	close(a.full)
	return <-a.done
}
