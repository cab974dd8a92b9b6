package agent

import (
	"bytes"
	"context"
	"io"
	"sync"
)

// stream is one of the ports that output comes over. A goroutine reads it all the time, since the guest waits while
// nobody does; what no request asked for is dropped.
type stream struct {
	mu   sync.Mutex
	to   io.Writer
	mark []byte
	held []byte // the end of what came, which may be the beginning of the mark
	err  error  // of writing
	done chan struct{}
	gone error // why reading ended, once closed is
	// closed is closed when there is nothing more to read.
	closed chan struct{}
}

// newStream begins to read a port, until it is at its end.
func newStream(port io.Reader) *stream {
	s := &stream{closed: make(chan struct{})}
	go func() {
		defer close(s.closed)
		buf := make([]byte, 32<<10)
		for {
			n, err := port.Read(buf)
			s.take(buf[:n])
			if err != nil {
				s.gone = err
				return
			}
		}
	}()
	return s
}

// expect lets what comes go to a writer until the mark does. done is closed then.
func (s *stream) expect(mark []byte, to io.Writer) (done <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to, s.mark, s.held, s.err, s.done = to, mark, nil, nil, make(chan struct{})
	return s.done
}

// await waits until the mark has come, which done says.
func (s *stream) await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-s.closed:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// The mark may have been the last that came.
	select {
	case <-done:
		return nil
	default:
		return ErrLost
	}
}

// end takes the writer away, and returns what went wrong with it.
func (s *stream) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = nil
	return s.err
}

// take takes what came.
func (s *stream) take(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil {
		return
	}
	all := append(s.held, data...)
	if i := bytes.Index(all, s.mark); i >= 0 {
		s.write(all[:i])
		s.to, s.held = nil, nil
		close(s.done)
		return
	}
	keep := partial(all, s.mark)
	s.write(all[:len(all)-keep])
	s.held = bytes.Clone(all[len(all)-keep:])
}

// write passes output on. After an error it is dropped, so that the guest does not block.
func (s *stream) write(data []byte) {
	if s.err == nil && len(data) > 0 {
		_, s.err = s.to.Write(data)
	}
}

// partial is how many bytes at the end of data are the beginning of mark.
func partial(data, mark []byte) int {
	for n := min(len(data), len(mark)-1); n > 0; n-- {
		if bytes.Equal(data[len(data)-n:], mark[:n]) {
			return n
		}
	}
	return 0
}
