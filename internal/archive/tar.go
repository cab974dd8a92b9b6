package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// The default limits of ExtractTar: more than any operating system needs, and
// less than would fill a machine unnoticed.
const (
	defaultMaxBytes   = 64 << 30
	defaultMaxEntries = 4 << 20
	maxNameLength     = 4096 // PATH_MAX
)

// ErrLimit is in the error about an archive that holds more than is allowed.
var ErrLimit = errors.New("archive is larger than allowed")

// ExtractOptions says how an archive is extracted.
type ExtractOptions struct {
	// IgnoreOwners leaves files to the caller's user and group, and drops the
	// extended attributes that the caller may not set.
	IgnoreOwners bool
	// MaxBytes bounds the content of all files together, zero means 64 GiB.
	MaxBytes int64
	// MaxEntries bounds the number of entries, zero means 4 Mi.
	MaxEntries int
}

// ExtractTar extracts the tar archive r, compressed or not, to the directory
// target of the tree at root, which is made if it is missing; an empty target
// is root. It does what skeleton and extra trees need of tar(1): owners by
// number, modes with set-id bits, times, hard links, device nodes and extended
// attributes are kept. What is not a directory is replaced; an existing
// directory keeps its attributes, and one reached over a link is used as it
// is. What the archive has below dev, proc, sys, tmp, run and var/tmp is left
// out. Access control lists are refused.
//
// Nothing is ever written outside root: links of the tree and of the archive
// are resolved inside it, and names with ".." are an error.
func ExtractTar(ctx context.Context, r io.Reader, root, target string, o ExtractOptions) error {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(fd)
	dir, err := tree.MkdirIn(fd, target)
	if err != nil {
		return err
	}
	unix.Close(dir)
	rc, _, err := NewReader(r)
	if err != nil {
		return err
	}
	defer rc.Close()
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = defaultMaxEntries
	}
	x := extractor{ExtractOptions: o, root: fd, target: path.Clean("/" + target)[1:], made: map[string]*tar.Header{}}
	if err := x.extractAll(ctx, tar.NewReader(rc)); err != nil {
		return err
	}
	return x.finishDirs()
}

type extractor struct {
	ExtractOptions
	root   int
	target string // relative to root, "" for root
	// Directories that were made get their attributes last: until then they
	// are writable, and afterwards their times stay.
	made  map[string]*tar.Header
	order []string
}

func (x *extractor) extractAll(ctx context.Context, t *tar.Reader) error {
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if n >= x.MaxEntries {
			return fmt.Errorf("%w: more than %d entries", ErrLimit, x.MaxEntries)
		}
		if h.Size > x.MaxBytes {
			return fmt.Errorf("%w: too much content at %.100q", ErrLimit, h.Name)
		}
		x.MaxBytes -= max(h.Size, 0)
		if err := x.extract(h, t); err != nil {
			return fmt.Errorf("extracting %.4096s: %w", h.Name, err)
		}
	}
}

// cleanName turns a name of the archive into a relative path.
func cleanName(name string) (string, error) {
	if len(name) > maxNameLength {
		return "", unix.ENAMETOOLONG
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errors.New("name leads out of the tree")
		}
	}
	return path.Clean("/" + name)[1:], nil
}

// excluded reports whether a path is below a directory whose content is never
// part of an image.
func excluded(name string) bool {
	for _, dir := range []string{"dev/", "proc/", "sys/", "tmp/", "run/", "var/tmp/"} {
		if strings.HasPrefix(name, dir) {
			return true
		}
	}
	return false
}

func (x *extractor) extract(h *tar.Header, content io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if excluded(name) || h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if name == "" {
		return nil // the directory that is extracted to keeps its attributes
	}
	dir, base := path.Dir(name), path.Base(name)
	parent, err := tree.MkdirIn(x.root, path.Join(x.target, dir))
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	if h.Typeflag == tar.TypeDir {
		return x.directory(parent, name, base, h)
	}
	return x.replace(parent, base, func() error { return x.create(parent, base, h, content) })
}

// directory makes a directory, unless there is one or a link to one.
func (x *extractor) directory(parent int, name, base string, h *tar.Header) error {
	err := unix.Mkdirat(parent, base, 0o700)
	if err == unix.EEXIST {
		fd, e := tree.OpenIn(x.root, path.Join(x.target, name), unix.O_PATH|unix.O_DIRECTORY)
		if e == nil {
			if _, ok := x.made[name]; ok {
				x.made[name] = h
			}
			return unix.Close(fd)
		}
		if err = unix.Unlinkat(parent, base, 0); err == nil {
			err = unix.Mkdirat(parent, base, 0o700)
		}
	}
	if err != nil {
		return err
	}
	x.made[name] = h
	x.order = append(x.order, name)
	return nil
}

// replace calls create, and again after removing what is in its way.
func (x *extractor) replace(parent int, base string, create func() error) error {
	err := create()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	err = unix.Unlinkat(parent, base, 0)
	if err == unix.EISDIR {
		err = unix.Unlinkat(parent, base, unix.AT_REMOVEDIR)
		if err == unix.ENOTEMPTY {
			err = errors.New("a directory that is not empty is in its place")
		}
	}
	if err != nil {
		return err
	}
	return create()
}

func (x *extractor) create(parent int, base string, h *tar.Header, content io.Reader) error {
	var err error
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return x.regular(parent, base, h, content)
	case tar.TypeLink:
		return x.hardLink(parent, base, h)
	case tar.TypeSymlink:
		err = unix.Symlinkat(h.Linkname, parent, base)
	case tar.TypeFifo:
		err = unix.Mknodat(parent, base, unix.S_IFIFO|0o600, 0)
	case tar.TypeChar:
		err = unix.Mknodat(parent, base, unix.S_IFCHR|0o600, int(device(h)))
	case tar.TypeBlock:
		err = unix.Mknodat(parent, base, unix.S_IFBLK|0o600, int(device(h)))
	default:
		return fmt.Errorf("unknown entry type %q", h.Typeflag)
	}
	if err != nil {
		return err
	}
	return x.setAttributes(parent, base, h)
}

func device(h *tar.Header) uint64 { return unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)) }

// hardLink makes a further name of a file that is in the tree already.
func (x *extractor) hardLink(parent int, base string, h *tar.Header) error {
	name, err := cleanName(h.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %.4096s: %w", h.Linkname, err)
	}
	fd, err := tree.OpenIn(x.root, path.Join(x.target, path.Dir(name)), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", name, err)
	}
	defer unix.Close(fd)
	if err := unix.Linkat(fd, path.Base(name), parent, base, 0); err != nil {
		return fmt.Errorf("hard link to %s: %w", name, err)
	}
	return nil
}

func (x *extractor) regular(parent int, base string, h *tar.Header, content io.Reader) error {
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = writeContent(fd, content, h.Size)
	if e := unix.Close(fd); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return x.setAttributes(parent, base, h)
}

// finishDirs gives the directories that were made their attributes, the
// deepest first.
func (x *extractor) finishDirs() error {
	for i := len(x.order) - 1; i >= 0; i-- {
		name := x.order[i]
		if err := x.finishDir(name); err != nil {
			return fmt.Errorf("extracting %s: %w", name, err)
		}
	}
	return nil
}

func (x *extractor) finishDir(name string) error {
	dir, base := path.Dir(name), path.Base(name)
	parent, err := tree.OpenIn(x.root, path.Join(x.target, dir), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil // a later entry replaced it
	}
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	var st unix.Stat_t
	err = unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT || err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if err != nil {
		return err
	}
	return x.setAttributes(parent, base, x.made[name])
}

func timespec(t time.Time) (unix.Timespec, error) {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return unix.TimeToTimespec(t)
}
