package deb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// arMagic starts every ar archive, ar(5).
const arMagic = "!<arch>\n"

// arReader reads the members of an ar archive one after another, the common
// subset of the format that deb(5) allows.
type arReader struct {
	r    io.Reader
	left int64 // bytes of the current member that are not read yet
	pad  int64 // 1 when a padding byte follows the member
}

func newArReader(r io.Reader) (*arReader, error) {
	var magic [len(arMagic)]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil || string(magic[:]) != arMagic {
		return nil, errors.New("not an ar archive")
	}
	return &arReader{r: r}, nil
}

// next advances to the next member and returns its name, or io.EOF.
func (a *arReader) next() (string, error) {
	if _, err := io.CopyN(io.Discard, a.r, a.left+a.pad); err != nil {
		return "", fmt.Errorf("ar member ends early: %w", err)
	}
	var h [60]byte
	switch _, err := io.ReadFull(a.r, h[:]); {
	case errors.Is(err, io.EOF):
		return "", io.EOF
	case err != nil:
		return "", fmt.Errorf("ar header ends early: %w", err)
	}
	if !bytes.Equal(h[58:], []byte("`\n")) {
		return "", errors.New("ar header without its end mark")
	}
	size, err := strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
	if err != nil || size < 0 {
		return "", fmt.Errorf("ar member of size %q", h[48:58])
	}
	a.left, a.pad = size, size&1
	name := strings.TrimRight(string(h[:16]), " ")
	return strings.TrimSuffix(name, "/"), nil
}

// Read reads from the current member.
func (a *arReader) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.r.Read(p)
	a.left -= int64(n)
	if errors.Is(err, io.EOF) && a.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
