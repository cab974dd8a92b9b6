package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// disk is the file of the disk that the machine starts from.
type disk struct {
	path    string
	backing string // image below a file in the format qcow2, which has the changes only; "" for a raw disk
	throw   bool   // nobody wants what is written
	direct  bool
}

// diskNode is the name of the disk within QEMU.
const diskNode = "mkosi"

// blockdev describes the disk to QEMU.
func (d disk) blockdev(ioUring bool) string {
	driver := "driver=raw,node-name=" + diskNode + ",discard=unmap"
	if d.backing != "" {
		driver = "driver=qcow2,node-name=" + diskNode + ",discard=unmap,backing.driver=raw,backing.read-only=on,backing.file.driver=file,backing.file.filename=" + quoted(d.backing)
	}
	return driver + ",file.driver=file,file.filename=" + quoted(d.path) + ",file.aio=" + asynchronous(ioUring) +
		",cache.direct=" + onOff(d.direct) + ",cache.no-flush=" + yesNo(d.throw)
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// asynchronous is how QEMU reads and writes files.
func asynchronous(ioUring bool) string {
	if ioUring {
		return "io_uring"
	}
	return "threads"
}

// lockedError says that a machine has the image already.
type lockedError struct{ path string }

func (e *lockedError) Error() string { return e.path + " is in use by another machine" }

// Hint says what to do about it.
func (e *lockedError) Hint() string {
	return "set Ephemeral=yes for every machine that runs beside another one of the same image"
}

// lockImage keeps other machines from the image for as long as this one changes it, or its disk lies on top of it. The
// lock is on the file itself, as that of mkosi, and goes with this process.
func (r *running) lockImage() error {
	if r.m.img.Format == config.FormatCPIO || r.m.img.Format == config.FormatUKI {
		return nil // it is read once
	}
	f, err := os.Open(r.m.image)
	if err != nil {
		return err
	}
	r.onEnd(f.Close)
	how := unix.LOCK_EX
	if r.m.img.Ephemeral {
		how = unix.LOCK_SH
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return &lockedError{r.m.image}
	}
	if err != nil {
		return &os.PathError{Op: "locking", Path: r.m.image, Err: err}
	}
	return nil
}

// checkDisk looks at the image before anything is started.
func (m *Machine) checkDisk() error {
	info, err := os.Stat(m.image)
	if err != nil {
		return err
	}
	if m.img.Format == config.FormatDirectory != info.IsDir() {
		return fmt.Errorf("%s is not what Format=%s makes", m.image, m.img.Format)
	}
	return nil
}

// prepareDisk makes the disk that the machine starts from: the image itself, or what lies between it and the guest.
func (r *running) prepareDisk(ctx context.Context) error {
	m := r.m
	if !m.isDisk() {
		return nil
	}
	r.disk = disk{path: m.image}
	if m.img.Ephemeral && !m.vmspawn() {
		if err := r.ephemeralDisk(ctx); err != nil {
			return fmt.Errorf("making a disk that is thrown away: %w", err)
		}
	}
	if m.img.RuntimeSize != nil {
		if err := grow(r.disk.path, *m.img.RuntimeSize); err != nil {
			return fmt.Errorf("enlarging the disk to RuntimeSize=: %w", err)
		}
	}
	r.disk.direct = directIO(r.disk.path)
	return nil
}

// ephemeralDisk makes a copy of the image that shares its blocks, where the file system can, or else an empty file that
// the guest's changes go to. A disk that is enlarged is copied: a partition table cannot be moved without writing to it.
func (r *running) ephemeralDisk(ctx context.Context) (err error) {
	image := r.m.image
	in, err := os.Open(image)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	staging, err := r.beside(image)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(staging.Path("disk"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	r.disk = disk{path: out.Name(), throw: true}
	switch {
	case unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil:
		return nil
	case r.m.img.RuntimeSize != nil:
		return errors.Join(out.Truncate(fi.Size()), tree.CopySparse(ctx, int(in.Fd()), int(out.Fd()), fi.Size(), 0))
	}
	r.disk.backing = image
	return writeOverlay(out, fi.Size())
}

// beside makes a private directory on the file system of a file, which goes when the run ends, or else when another one
// looks for what was left behind.
func (r *running) beside(path string) (*tree.Staging, error) {
	staging, err := tree.Stage(r.ctx, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	r.onEnd(staging.Close)
	return staging, nil
}

// grow enlarges a disk that is smaller than size bytes. Its partitions stay as they are, the backup of their table moves
// to the new end.
func grow(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	const block = 4096 // of any disk
	size = (size + block - 1) / block * block
	if fi.Size() >= size {
		return nil
	}
	err = gpt.Resize(f, size, 0)
	if errors.Is(err, gpt.ErrNoTable) {
		return f.Truncate(size)
	}
	return err
}
