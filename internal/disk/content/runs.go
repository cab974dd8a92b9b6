package content

import (
	"fmt"
	"io"
)

// Run is a piece of a file that lies in an image as it is.
type Run struct {
	At     int64 // where in the file it starts, in bytes
	Length int64 // in bytes
	Offset int64 // where in the image it starts, in bytes
}

// Mapped is implemented by the content of files that lie in an image as they
// are, uncompressed: what [Entry.Open] returns may be one.
type Mapped interface {
	// Runs are the pieces, in the order of the file. What they leave out is
	// zero.
	Runs() []Run
}

// CheckRuns returns an error when runs are out of order, overlap, or lie
// outside of an image of a certain size.
func CheckRuns(runs []Run, size int64) error {
	end := int64(0)
	for _, r := range runs {
		if r.Length <= 0 || r.At < end || r.At+r.Length < r.At || r.Offset < 0 || r.Length > size || r.Offset > size-r.Length {
			return fmt.Errorf("a piece of %d bytes of a file lies at %d, outside of the file system or over another piece", r.Length, r.Offset)
		}
		end = r.At + r.Length
	}
	return nil
}

// OpenRuns returns the content of a file of a certain size whose pieces lie in
// r. The runs must pass [CheckRuns]; what of them lies behind the size is not
// read. The result is [Mapped]; closing it does nothing.
func OpenRuns(r io.ReaderAt, size int64, runs []Run) io.ReadCloser {
	return &runReader{r: r, size: size, runs: runs}
}

// ReadFull fills p with what r has at an offset. An end before that is
// io.ErrUnexpectedEOF.
func ReadFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

type runReader struct {
	r    io.ReaderAt
	size int64
	runs []Run
	at   int64
	next int // the first run that does not end before at
}

func (f *runReader) Runs() []Run { return f.runs }

func (f *runReader) Close() error { return nil }

func (f *runReader) Read(p []byte) (int, error) {
	if f.at >= f.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), f.size-f.at)]
	done := 0
	for done < len(p) {
		for f.next < len(f.runs) && f.runs[f.next].At+f.runs[f.next].Length <= f.at {
			f.next++
		}
		rest := p[done:]
		if f.next == len(f.runs) || f.runs[f.next].At > f.at {
			if f.next < len(f.runs) {
				rest = rest[:min(int64(len(rest)), f.runs[f.next].At-f.at)]
			}
			clear(rest)
		} else {
			run := f.runs[f.next]
			skip := f.at - run.At
			rest = rest[:min(int64(len(rest)), run.Length-skip)]
			if err := ReadFull(f.r, rest, run.Offset+skip); err != nil {
				return done, err
			}
		}
		f.at += int64(len(rest))
		done += len(rest)
	}
	return done, nil
}
