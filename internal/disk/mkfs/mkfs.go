// Package mkfs makes file systems with the programs that belong to them: btrfs,
// xfs, f2fs, squashfs, and those forms of erofs that the native writer does not
// have. Nothing is mounted, so it works for any user. What a program drops or
// gets wrong is put right in its result; where that cannot be done, it is
// refused.
//
// A program makes its file system in a temporary file, whose data then is
// cloned or copied to the place in the image, without the holes. squashfs reads
// the tree as a stream; the others read a folder that is made for them.
//
// The bytes depend on the version of the program. With one version, and for one
// content, erofs and squashfs come out the same every time, and xfs does from
// version 6.18 on if the folder is listed in the same order, which is the host's
// file system's. In a btrfs differ the identifiers of the chunk tree, of the
// device (before version 6.3) and of subvolumes, and the times at which
// subvolumes were made. In an f2fs before version 1.16 differs the identifier of
// the checkpoint.
package mkfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// Options are the properties of a file system as a whole.
type Options struct {
	// Format is repart.FormatBtrfs, FormatXFS, FormatF2FS, FormatSquashfs or
	// FormatErofs.
	Format string
	// UUID identifies the file system. A squashfs has none.
	UUID uuid.UUID
	// Label is its name, cut to what the format has room for.
	Label string
	// SectorSize is that of the file system, in bytes; zero means 4096.
	SectorSize uint32
	// BuildTime is when it was made, in seconds since 1970. No entry may be
	// newer.
	BuildTime int64
	// Compression and CompressionLevel are what the settings of the same name
	// say; empty leaves the choice to the program.
	Compression, CompressionLevel string
	// Subvolumes are the folders that are subvolumes, DefaultSubvolume is one
	// of them or empty; for btrfs only. Folders that the tree lacks are made.
	Subvolumes       []repart.Subvolume
	DefaultSubvolume string
	// Minimize is how the size follows from the content. It changes nothing
	// for squashfs and erofs, which are always as small as possible.
	Minimize repart.Minimize
	// ExtraOptions are added at the end of the program's command line.
	ExtraOptions []string
	// Dir is a folder for temporary files, best on the file system of the
	// image.
	Dir string
	// Run runs the programs, which must find Dir at the same path.
	Run program.RunFunc
}

// Image is a file system that is about to be written.
type Image struct {
	size  int64
	maker maker
	// dir holds all temporary files.
	dir string
	// made is the finished file system when its size is fixed, else nil.
	made *os.File
}

// maker makes file systems of one format.
type maker interface {
	// prepare finds out whether the file system can be made, and says how large
	// it is, or has to be at least. It is called once, before make.
	prepare(ctx context.Context) (size int64, err error)
	// make makes a file system in a file of zeros. It is as large as the file,
	// or, if its size is fixed, makes the file as large as itself.
	make(ctx context.Context, f *os.File) error
	// fixed reports whether the content decides on the size alone.
	fixed() bool
}

// job is what all makers work with.
type job struct {
	Options
	tree content.Tree
	// dir is the private folder for temporary files.
	dir string
	// trusted says that the folder that programs read has attributes in the
	// namespace trusted.
	trusted bool
}

// makers are the formats.
var makers = map[string]func(*job) maker{
	repart.FormatBtrfs:    func(j *job) maker { return &btrfsMaker{job: j} },
	repart.FormatXFS:      func(j *job) maker { return &xfsMaker{job: j} },
	repart.FormatF2FS:     func(j *job) maker { return &f2fsMaker{job: j} },
	repart.FormatSquashfs: func(j *job) maker { return &squashfsMaker{job: j} },
	repart.FormatErofs:    func(j *job) maker { return &erofsMaker{job: j} },
}

// Plan finds out how large the file system has to be. Where the content decides
// on the size alone, this makes it. The tree must not change afterwards, and its
// files must stay there to be opened until Close, which the caller has to call
// unless there is an error. The error is, or wraps, a [program.MissingError] or
// [program.TooOldError] if that is the reason.
func Plan(ctx context.Context, t content.Tree, o Options) (_ *Image, err error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	newMaker := makers[o.Format]
	if newMaker == nil {
		return nil, fmt.Errorf("no program is known that makes a file system of the format %q", o.Format)
	}
	if o.SectorSize == 0 {
		o.SectorSize = 4096
	}
	if err := checkSettings(&o); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "mkfs-")
	if err != nil {
		return nil, err
	}
	im := &Image{dir: dir, maker: newMaker(&job{Options: o, tree: t, dir: dir})}
	defer func() {
		if err != nil {
			err = errors.Join(err, im.Close())
		}
	}()
	if im.size, err = im.maker.prepare(ctx); err != nil {
		return nil, err
	}
	if im.maker.fixed() {
		if im.made, err = im.make(ctx, im.size); err != nil {
			return nil, err
		}
		st, err := im.made.Stat()
		if err != nil {
			return nil, err
		}
		im.size = st.Size()
	}
	return im, nil
}

// checkSettings refuses settings that a format does not have.
func checkSettings(o *Options) error {
	if o.Format != repart.FormatBtrfs && (len(o.Subvolumes) > 0 || o.DefaultSubvolume != "") {
		return fmt.Errorf("setting Subvolumes= is for btrfs only, not for %s", o.Format)
	}
	if o.Minimize == repart.MinimizeBest && (o.Format == repart.FormatXFS || o.Format == repart.FormatF2FS) {
		return fmt.Errorf("setting Minimize=best is not possible for %s, which can be written to: use Minimize=guess", o.Format)
	}
	return nil
}

// Size is the size of the file system in bytes, or the smallest that it can
// have. It is a multiple of 4096.
func (im *Image) Size() int64 { return im.size }

// Fixed reports whether the content decides on the size alone, so that Write
// makes a file system of that size in however much room.
func (im *Image) Fixed() bool { return im.made != nil }

// Write writes the file system into the file, at an offset, size bytes large
// unless its size is fixed. The file must be all zero there.
func (im *Image) Write(ctx context.Context, f *os.File, offset, size int64) (err error) {
	if size < im.size {
		return fmt.Errorf("the file system takes %d bytes, there is room for %d", im.size, size)
	}
	made := im.made
	if made == nil {
		if made, err = im.make(ctx, size); err != nil {
			return err
		}
		// Its space is free for the image again as soon as it has been copied.
		defer func() { err = errors.Join(err, made.Close(), os.Remove(made.Name())) }()
	}
	st, err := made.Stat()
	if err != nil {
		return err
	}
	if st.Size() > size {
		return fmt.Errorf("the file system takes %d bytes, there is room for %d", st.Size(), size)
	}
	if err := tree.CopySparse(ctx, int(made.Fd()), int(f.Fd()), st.Size(), offset); err != nil {
		return fmt.Errorf("copying the file system to its place: %w", err)
	}
	return nil
}

// make makes the file system in a temporary file.
func (im *Image) make(ctx context.Context, size int64) (_ *os.File, err error) {
	f, err := os.OpenFile(filepath.Join(im.dir, "image"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	if err := im.maker.make(ctx, f); err != nil {
		return nil, err
	}
	return f, nil
}

// Close removes all temporary files.
func (im *Image) Close() error {
	var err error
	if im.made != nil {
		err = im.made.Close()
	}
	// The folder may hold folders that nobody may write to.
	return errors.Join(err, tree.RemoveAll(context.Background(), im.dir))
}
