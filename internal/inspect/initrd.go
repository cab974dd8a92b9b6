package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// readInitrd reads archives that follow each other, with zeros between them.
func (s *Source) readInitrd(t *archiveTree, maxSize int64) error {
	for at := int64(0); ; {
		at = s.skipZeros(at)
		if at >= s.size {
			return nil
		}
		var magic [6]byte
		if _, err := s.r.ReadAt(magic[:], at); err != nil && err != io.EOF {
			return err
		}
		if string(magic[:]) == "070701" || string(magic[:]) == "070702" {
			n, err := s.readCPIO(t, at)
			if err != nil {
				return err
			}
			at += n
			continue
		}
		// The rest is compressed, and what is in it takes its place.
		r, c, err := archive.NewReader(io.NewSectionReader(s.r, at, s.size-at))
		if err != nil {
			return err
		}
		defer r.Close()
		if c == archive.None {
			return fmt.Errorf("what follows at byte %d is no archive", at)
		}
		tmp, err := temporary()
		if err != nil {
			return err
		}
		s.close = append(s.close, tmp.Close)
		n, err := copySparse(t.ctx, tmp, 0, r, maxSize)
		if err != nil {
			return fmt.Errorf("unpacking what follows at byte %d: %w", at, err)
		}
		rest := &Source{path: s.path, r: tmp, size: n}
		return rest.readPlain(t)
	}
}

// readPlain reads archives that follow each other and are not compressed.
func (s *Source) readPlain(t *archiveTree) error {
	for at := s.skipZeros(0); at < s.size; at = s.skipZeros(at) {
		n, err := s.readCPIO(t, at)
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

// skipZeros returns the first offset from at on that is not zero.
func (s *Source) skipZeros(at int64) int64 {
	buf := make([]byte, 64<<10)
	for at < s.size {
		n, _ := s.r.ReadAt(buf[:min(int64(len(buf)), s.size-at)], at)
		if n == 0 {
			return s.size
		}
		if rest := bytes.TrimLeft(buf[:n], "\x00"); len(rest) > 0 {
			return at + int64(n-len(rest))
		}
		at += int64(n)
	}
	return at
}

// readCPIO reads one archive and returns how long it is.
func (s *Source) readCPIO(t *archiveTree, start int64) (int64, error) {
	r := &counter{r: io.NewSectionReader(s.r, start, s.size-start)}
	c := archive.NewCPIOReader(r)
	links := map[uint32]string{}
	for {
		h, err := c.Next()
		if errors.Is(err, io.EOF) {
			return r.n, nil
		} else if err != nil {
			return 0, err
		}
		e := content.Entry{Mode: h.Mode, UID: h.UID, GID: h.GID, Mtime: h.ModTime.Unix(), Major: h.Major, Minor: h.Minor}
		switch e.Type() {
		case unix.S_IFREG:
			e.Size = h.Size
			if h.Size > 0 {
				runs := []content.Run{{Length: h.Size, Offset: start + r.n}}
				if err := content.CheckRuns(runs, s.size); err != nil {
					return 0, err
				}
				src := s.r
				e.Open = func() (io.ReadCloser, error) { return content.OpenRuns(src, runs[0].Length, runs), nil }
			}
		case unix.S_IFLNK:
			const maxTarget = 4096
			target, err := io.ReadAll(io.LimitReader(c, maxTarget))
			if err != nil {
				return 0, err
			}
			e.Target = string(target)
		case unix.S_IFCHR, unix.S_IFBLK:
		default:
			e.Major, e.Minor = 0, 0
		}
		if err := t.addCPIO(h, e, links); err != nil {
			return 0, err
		}
	}
}

// addCPIO adds an entry. Of the names of one file, one has the content, and
// the others have a size of zero.
func (t *archiveTree) addCPIO(h *archive.CPIOHeader, e content.Entry, links map[uint32]string) error {
	first, known := links[h.Inode]
	if e.IsDir() || h.Links < 2 || !known {
		if !e.IsDir() && h.Links > 1 {
			name, err := archiveName(h.Name)
			if err != nil {
				return err
			}
			links[h.Inode] = name
		}
		return t.add(h.Name, e)
	}
	if e.Size > 0 {
		if old, ok := t.entries[first]; ok && old.Size == 0 && !old.HardLink {
			old.Size, old.Open = e.Size, e.Open
			t.entries[first] = old
		}
	}
	return t.add(h.Name, content.Entry{Mode: e.Mode, HardLink: true, Link: first})
}
