package uki

import (
	"errors"
	"fmt"
	"io"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

const (
	// maxKernel is how large a kernel may become when it is decompressed.
	maxKernel = 1 << 30
	// maxSBAT is how much of a section with components for revocation is read.
	maxSBAT = 64 << 10
)

// kernel reads a kernel as firmware can start it.
type kernel struct {
	io.ReadCloser
	size int64 // -1 when that shows only in the end
	left int64 // that may be read
}

// openKernel returns a reader of a kernel that decompresses it. A program for
// firmware is read as it is, even if most of it is compressed, and so is what
// is no compressed file.
func openKernel(r *io.SectionReader) (*kernel, error) {
	magic := make([]byte, 2)
	if n, err := r.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	} else if n < 2 || string(magic) == "MZ" {
		return &kernel{io.NopCloser(again(r)), r.Size(), r.Size()}, nil
	}
	d, c, err := archive.NewReader(again(r))
	if err != nil {
		return nil, err
	}
	if c == archive.None {
		return &kernel{d, r.Size(), r.Size()}, nil
	}
	return &kernel{d, -1, maxKernel}, nil
}

// DecompressKernel writes the content of a kernel that is compressed as a whole to
// w, and reports whether it is: of any other kernel nothing is written. What
// [Build] is given may be compressed too; this is for who signs a kernel first.
func DecompressKernel(w io.Writer, r *io.SectionReader) (compressed bool, err error) {
	k, err := openKernel(r)
	if err != nil {
		return false, err
	}
	defer k.Close()
	if k.size >= 0 {
		return false, nil
	}
	_, err = io.Copy(w, k)
	return true, err
}

func (k *kernel) Read(b []byte) (int, error) {
	n, err := k.ReadCloser.Read(b)
	if k.left -= int64(n); k.left < 0 {
		return n, fmt.Errorf("the kernel is larger than the %d bytes that are read", maxKernel)
	}
	return n, err
}

// readSBAT returns the .sbat section of a program, or nothing when it has none.
func readSBAT(f *pe.File, r io.ReaderAt) (string, error) {
	s, ok := f.Section(".sbat")
	if !ok {
		return "", nil
	}
	if s.Used() > maxSBAT {
		return "", fmt.Errorf("a section .sbat of %d bytes is larger than the %d that are read", s.Used(), maxSBAT)
	}
	b := make([]byte, s.Used())
	if _, err := r.ReadAt(b, s.Offset); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the section .sbat: %w", err)
	}
	return string(b), nil
}
