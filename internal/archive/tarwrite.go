package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// WriteTar writes the tree at root to w as a tar archive in the pax format
// (POSIX.1-2008, pax, "pax Interchange Format"). The same tree gives the same
// bytes: entries are sorted, owners are numbers, and of the times only that of
// the last modification is there, in whole seconds. Names start with "./", the
// root being "./" itself. Extended attributes are in records SCHILY.xattr.NAME,
// as GNU tar and libarchive have them, but for those that belong to an overlay.
// Sockets are left out. A hole is written as the zeros that it reads as.
func WriteTar(ctx context.Context, w io.Writer, root string) error {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(fd)
	ahead := newAheadWriter(w)
	t := tarWriter{tar.NewWriter(ahead), fd}
	err = tree.Walk(ctx, root, func(e *tree.Entry) error {
		if e.Type() == unix.S_IFSOCK {
			return nil
		}
		if err := t.write(e); err != nil {
			return fmt.Errorf("archiving %s: %w", filepath.Join(root, e.Path), err)
		}
		return nil
	})
	if err == nil {
		err = t.Close()
	}
	if e := ahead.Close(); e != nil {
		return fmt.Errorf("writing the tar archive: %w", e)
	}
	return err
}

type tarWriter struct {
	*tar.Writer
	fd int // of the root
}

// tarName is the name that a path relative to the root has in the archive.
func tarName(p string) string {
	if p == "." {
		return "./"
	}
	return "./" + p
}

// write adds one entry.
func (t *tarWriter) write(e *tree.Entry) error {
	h := &tar.Header{
		Format:  tar.FormatPAX,
		Name:    tarName(e.Path),
		Mode:    int64(e.Stat.Mode & 0o7777),
		Uid:     int(e.Stat.Uid),
		Gid:     int(e.Stat.Gid),
		ModTime: time.Unix(e.Stat.Mtim.Sec, 0),
	}
	if e.First != "" {
		h.Typeflag, h.Linkname = tar.TypeLink, tarName(e.First)
		return t.WriteHeader(h)
	}
	switch e.Type() {
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, e.Stat.Size
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(h.Name, "/")+"/"
	case unix.S_IFLNK:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if e.Type() == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(uint64(e.Stat.Rdev))), int64(unix.Minor(uint64(e.Stat.Rdev)))
	default:
		return fmt.Errorf("unknown file type, mode %o", e.Stat.Mode)
	}
	var err error
	if h.PAXRecords, err = t.xattrs(e.Path); err != nil {
		return fmt.Errorf("reading extended attributes: %w", err)
	}
	if err := t.WriteHeader(h); err != nil || h.Size == 0 {
		return err
	}
	return t.content(e)
}

// xattrs returns the records of an entry's extended attributes.
func (t *tarWriter) xattrs(name string) (map[string]string, error) {
	parent, err := tree.OpenIn(t.fd, path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(parent)
	xattrs, err := tree.ReadXattrs(fmt.Sprintf("/proc/self/fd/%d/%s", parent, path.Base(name)))
	if err != nil || len(xattrs) == 0 {
		return nil, err
	}
	records := map[string]string{}
	for name, value := range xattrs {
		if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		records[paxXattr+name] = string(value)
	}
	return records, nil
}

// content writes the content of a regular file, whose size must not have
// changed since the walk.
func (t *tarWriter) content(e *tree.Entry) error {
	fd, err := tree.OpenIn(t.fd, e.Path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), e.Path)
	defer f.Close()
	n, err := io.Copy(t.Writer, io.LimitReader(f, e.Stat.Size))
	if err == nil && n < e.Stat.Size {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file became shorter while it was read: %w", err)
	}
	return err
}
