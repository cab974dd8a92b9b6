package archive

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// CPIOFile is a regular file of an archive that is not made from a tree.
type CPIOFile struct {
	// Name is its path, as io/fs has them.
	Name string
	// Content is what it holds, less than 4 GiB.
	Content []byte
}

// WriteCPIOFiles writes files, which belong to root and have mode 0644, to w as a
// cpio archive in the format of [WriteCPIO], each after the directories that it
// lies in, as far as these were not written before. All times are mtime.
func WriteCPIOFiles(w io.Writer, files []CPIOFile, mtime time.Time) error {
	if mtime.Unix() < 0 || mtime.Unix() > math.MaxUint32 {
		return fmt.Errorf("time %s does not fit the cpio format", mtime.UTC())
	}
	a := newAheadWriter(w)
	c := cpioWriter{w: a}
	err := c.writeFiles(files, uint32(mtime.Unix()))
	if e := a.Close(); e != nil {
		return fmt.Errorf("writing the cpio archive: %w", e)
	}
	return err
}

func (c *cpioWriter) writeFiles(files []CPIOFile, mtime uint32) error {
	made := map[string]bool{".": true}
	h := header{mtime: mtime}
	var makeDir func(name string) error
	makeDir = func(name string) error {
		if made[name] {
			return nil
		}
		made[name] = true
		if err := makeDir(path.Dir(name)); err != nil {
			return err
		}
		h.mode, h.links, h.size = unix.S_IFDIR|0o755, 2, 0
		err := c.header(name, h)
		h.ino++
		return err
	}
	for _, f := range files {
		if !fs.ValidPath(f.Name) || f.Name == "." || len(f.Content) > math.MaxUint32 {
			return fmt.Errorf("%q with %d bytes cannot be a file of a cpio archive", f.Name, len(f.Content))
		}
		if err := makeDir(path.Dir(f.Name)); err != nil {
			return err
		}
		h.mode, h.links, h.size = unix.S_IFREG|0o644, 1, uint32(len(f.Content))
		if err := c.header(f.Name, h); err != nil {
			return err
		}
		if err := c.content(f.Content); err != nil {
			return err
		}
		h.ino++
	}
	if err := c.header(cpioTrailer, header{links: 1}); err != nil {
		return err
	}
	return c.pad(cpioBlock)
}
