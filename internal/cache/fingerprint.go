package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// Fingerprint stands for the content of a file or directory: what a copy of it would have, without the times, and
// without what is peculiar to one file system, such as inode numbers.
type Fingerprint struct {
	// Digest is a SHA-256 in hexadecimal.
	Digest string
	// Files has "DIGEST PATH" for everything in a directory, the directory itself (".") included, in the order of
	// [tree.Walk]. The digests are shortened: they say which file it was that changed, no more. It is nil for a file,
	// and for a directory with more than [MaxFiles].
	Files []string
}

// MaxFiles is how many files of a directory are told apart. Beyond it a fingerprint says only that something changed.
const MaxFiles = 100_000

// Options says what counts in a fingerprint, beside names, types, modes, link targets and content.
type Options struct {
	Owners bool // users and groups
	Xattrs bool // extended attributes
}

// Fingerprinter makes fingerprints. Its methods may be called from several goroutines.
type Fingerprinter struct {
	// Memo knows the files that were read before. It may be nil.
	Memo *Memo
}

// Path returns the fingerprint of the file or directory at path, which is followed if it is a link. Files are read by
// as many goroutines as there are CPUs. It ends with the context's error when ctx is done.
func (f *Fingerprinter) Path(ctx context.Context, path string, o Options) (*Fingerprint, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(real, &st); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return f.dir(ctx, real, o)
	}
	e := &tree.Entry{Path: ".", Stat: st}
	d := &description{entry: e}
	if e.IsRegular() {
		if d.content, err = f.content(ctx, real, &st); err != nil {
			return nil, err
		}
	}
	if o.Xattrs {
		if d.xattrs, err = tree.Xattrs(real); err != nil {
			return nil, err
		}
	}
	sum := d.sum(o)
	return &Fingerprint{Digest: hex.EncodeToString(sum[:])}, nil
}

// dir returns the fingerprint of a directory.
func (f *Fingerprinter) dir(ctx context.Context, root string, o Options) (*Fingerprint, error) {
	var all []*description
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	err := tree.Walk(ctx, root, func(e *tree.Entry) error {
		d := &description{entry: e}
		all = append(all, d)
		path := filepath.Join(root, e.Path)
		if o.Xattrs {
			xattrs, err := tree.Xattrs(path)
			if err != nil {
				return err
			}
			d.xattrs = xattrs
		}
		if !e.IsRegular() || e.First != "" {
			return nil
		}
		if sum, ok := f.Memo.get(&e.Stat); ok {
			d.content = sum
			return nil
		}
		g.Go(func() (err error) {
			d.content, err = f.read(ctx, path)
			return err
		})
		return nil
	})
	// A file that could not be read ends the walk as well, by the context: it is the one to name.
	if e := g.Wait(); e != nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	return combine(all, o), nil
}

// combine makes one fingerprint of what a directory holds.
func combine(all []*description, o Options) *Fingerprint {
	h := sha256.New()
	fp := &Fingerprint{}
	for _, d := range all {
		sum := d.sum(o)
		fmt.Fprintf(h, "%q %x\n", d.entry.Path, sum)
		if len(all) <= MaxFiles {
			fp.Files = append(fp.Files, hex.EncodeToString(sum[:6])+" "+d.entry.Path)
		}
	}
	fp.Digest = hex.EncodeToString(h.Sum(nil))
	return fp
}

// description is all that counts of one file.
type description struct {
	entry   *tree.Entry
	content [sha256.Size]byte // of a regular file
	xattrs  string
}

// sum returns the digest of a file without its name.
func (d *description) sum(o Options) [sha256.Size]byte {
	h := sha256.New()
	st := &d.entry.Stat
	mode := st.Mode
	if d.entry.IsSymlink() {
		mode = unix.S_IFLNK // whose permissions mean nothing
	}
	fmt.Fprintf(h, "%o %q %q %q\n", mode, d.entry.Target, d.entry.First, d.xattrs)
	if o.Owners {
		fmt.Fprintf(h, "%d:%d\n", st.Uid, st.Gid)
	}
	switch d.entry.Type() {
	case unix.S_IFREG:
		fmt.Fprintf(h, "%x\n", d.content)
	case unix.S_IFCHR, unix.S_IFBLK:
		fmt.Fprintf(h, "device %d\n", st.Rdev)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// content returns the digest of a regular file's content, from the memo if that knows the file.
func (f *Fingerprinter) content(ctx context.Context, path string, st *unix.Stat_t) (sum [sha256.Size]byte, err error) {
	if sum, ok := f.Memo.get(st); ok {
		return sum, nil
	}
	return f.read(ctx, path)
}

// read reads a regular file and remembers its digest.
func (f *Fingerprinter) read(ctx context.Context, path string) (sum [sha256.Size]byte, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return sum, fmt.Errorf("opening %s: %w", path, err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	var before, after unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		return sum, fmt.Errorf("reading %s: %w", path, err)
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return sum, fmt.Errorf("reading %s: it was replaced meanwhile", path)
	}
	start := now()
	h := sha256.New()
	if err := copyTo(ctx, h, file); err != nil {
		return sum, fmt.Errorf("reading %s: %w", path, err)
	}
	sum = [sha256.Size]byte(h.Sum(nil))
	if unix.Fstat(fd, &after) == nil && identity(&before) == identity(&after) {
		f.Memo.put(&before, sum, start)
	}
	return sum, nil
}

// copyTo feeds a file to a hash.
func copyTo(ctx context.Context, h hash.Hash, file *os.File) error {
	buf := make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := file.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
