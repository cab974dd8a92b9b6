package archive

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// CPIOOptions says how a tree is archived. The zero value archives all of it.
type CPIOOptions struct {
	// Epoch, unless zero, is what later modification times are set to.
	Epoch time.Time
	// Exclude, when set, is asked about each path, relative to the root. What
	// it returns true for is left out; a directory with all it holds.
	Exclude func(path string) bool
	// Unlisted, when set, is asked about each directory that is not excluded.
	// What it returns true for has no entry, while what it holds has: a part
	// of a tree that is unpacked over another archive's.
	Unlisted func(path string) bool
}

// cpioBlock is what an archive's length is padded to a multiple of.
const cpioBlock = 512

// cpioTrailer is the name of the entry that ends an archive.
const cpioTrailer = "TRAILER!!!"

// WriteCPIO writes the tree at root to w as a cpio archive in the newc format
// that the kernel unpacks as an initramfs (see initramfs buffer format in the
// kernel's documentation). The bytes are those that GNU cpio writes with
// --reproducible --renumber-inodes for the sorted list of files: the root
// itself is left out, inodes are numbered from 0, directories have two links,
// and the names of a file with several stand together where the last one is
// met, the content with that one. Links count only the names in the archive.
//
// Extended attributes and fractions of a second have no place in the format.
// A file of 4 GiB or more, or a time outside 1970 to 2106, is an error.
func WriteCPIO(ctx context.Context, w io.Writer, root string, o CPIOOptions) error {
	records, err := planCPIO(ctx, root, o)
	if err != nil {
		return err
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(fd)
	a := newAheadWriter(w)
	c := cpioWriter{w: a, root: root, fd: fd, epoch: o.Epoch}
	err = c.writeAll(ctx, records)
	if e := a.Close(); e != nil {
		return fmt.Errorf("writing the cpio archive: %w", e)
	}
	return err
}

// record is one entry of the archive to be written.
type record struct {
	*tree.Entry
	ino   uint32
	links uint32
	empty bool // the content comes with a later name of the same file
}

// planCPIO walks the tree and puts its entries in the archive's order.
func planCPIO(ctx context.Context, root string, o CPIOOptions) ([]record, error) {
	var entries []*tree.Entry
	names := map[string]uint32{} // of the first name of a file, how many it has
	err := tree.Walk(ctx, root, func(e *tree.Entry) error {
		if e.Path == "." {
			return nil
		}
		if o.Exclude != nil && o.Exclude(e.Path) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.Type() == unix.S_IFSOCK || e.IsDir() && o.Unlisted != nil && o.Unlisted(e.Path) {
			return nil
		}
		entries = append(entries, e)
		names[firstName(e)]++
		return nil
	})
	if err != nil {
		return nil, err
	}
	records := make([]record, 0, len(entries))
	waiting := map[string][]record{}
	numbers := map[string]uint32{}
	for _, e := range entries {
		first := firstName(e)
		ino, ok := numbers[first]
		if !ok {
			ino = uint32(len(numbers))
			numbers[first] = ino
		}
		r := record{Entry: e, ino: ino, links: names[first]}
		switch {
		case e.IsDir():
			r.links = 2
		case r.links > 1 && e.IsRegular():
			// GNU cpio keeps the names that wait on a stack.
			if w := waiting[first]; len(w)+1 < int(r.links) {
				r.empty = true
				waiting[first] = append(w, r)
				continue
			}
			for i := len(waiting[first]) - 1; i >= 0; i-- {
				records = append(records, waiting[first][i])
			}
		}
		records = append(records, r)
	}
	return records, nil
}

func firstName(e *tree.Entry) string {
	if e.First != "" {
		return e.First
	}
	return e.Path
}

type cpioWriter struct {
	w     *aheadWriter
	root  string
	fd    int
	epoch time.Time
	n     int64 // bytes written
}

func (c *cpioWriter) writeAll(ctx context.Context, records []record) error {
	for _, r := range records {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.write(r); err != nil {
			return fmt.Errorf("archiving %s: %w", filepath.Join(c.root, r.Path), err)
		}
	}
	if err := c.header(cpioTrailer, header{links: 1}); err != nil {
		return err
	}
	return c.pad(cpioBlock)
}

// header holds the fields of an entry that are not constant.
type header struct {
	ino, mode, uid, gid, links, mtime, size, major, minor uint32
}

func (c *cpioWriter) write(r record) error {
	mtime := r.Stat.Mtim.Sec
	if !c.epoch.IsZero() && r.Stat.Mtim.Nano() > c.epoch.UnixNano() {
		mtime = c.epoch.Unix()
	}
	if mtime < 0 || mtime > math.MaxUint32 {
		return fmt.Errorf("modification time %s does not fit the cpio format", time.Unix(mtime, 0).UTC())
	}
	h := header{ino: r.ino, mode: r.Stat.Mode, uid: r.Stat.Uid, gid: r.Stat.Gid, links: r.links, mtime: uint32(mtime)}
	switch r.Type() {
	case unix.S_IFCHR, unix.S_IFBLK:
		h.major, h.minor = unix.Major(uint64(r.Stat.Rdev)), unix.Minor(uint64(r.Stat.Rdev))
	case unix.S_IFLNK:
		h.size = uint32(len(r.Target))
		if err := c.header(r.Path, h); err != nil {
			return err
		}
		return c.content([]byte(r.Target))
	case unix.S_IFREG:
		if !r.empty {
			return c.file(r, h)
		}
	}
	return c.header(r.Path, h)
}

func (c *cpioWriter) file(r record, h header) error {
	if r.Stat.Size > math.MaxUint32 {
		return fmt.Errorf("%d bytes are more than the 4 GiB of the cpio format", r.Stat.Size)
	}
	h.size = uint32(r.Stat.Size)
	if err := c.header(r.Path, h); err != nil || h.size == 0 {
		return err
	}
	fd, err := tree.OpenIn(c.fd, r.Path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), r.Path)
	defer f.Close()
	if err := c.w.ReadFull(f, r.Stat.Size); err != nil {
		return err
	}
	c.n += r.Stat.Size
	return c.pad(4)
}

func (c *cpioWriter) header(name string, h header) error {
	b := fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		h.ino, h.mode, h.uid, h.gid, h.links, h.mtime, h.size, 0, 0, h.major, h.minor, len(name)+1, 0, name)
	return c.content(b)
}

// content writes b and aligns what follows.
func (c *cpioWriter) content(b []byte) error {
	n, err := c.w.Write(b)
	c.n += int64(n)
	if err != nil {
		return err
	}
	return c.pad(4)
}

func (c *cpioWriter) pad(to int64) error {
	n, err := c.w.Write(make([]byte, (to-c.n%to)%to))
	c.n += int64(n)
	return err
}
