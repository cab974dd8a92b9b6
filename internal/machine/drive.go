package machine

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// drive is a drive of Drives=, which the user connects by its name with a device of QemuArgs=.
type drive struct {
	id, path, options string
	direct            bool
}

// blockdev describes the drive to QEMU. What a test writes need not survive this host, and two drives may share a file.
func (d drive) blockdev(ioUring bool) string {
	text := "driver=raw,node-name=" + quoted(d.id) + ",file.driver=file,file.filename=" + quoted(d.path) + ",file.aio=" + asynchronous(ioUring) +
		",file.locking=off,cache.direct=" + onOff(d.direct) + ",cache.no-flush=yes"
	if d.options != "" {
		text += "," + d.options
	}
	return text
}

// persistent is the flag of a drive whose file is kept.
const persistent = "persist"

// drivesDir is where files of drives are that have no directory.
const drivesDir = "/var/tmp"

// prepareDrives makes the files of Drives=: those to be kept unless they are there, the others for this run. Drives with
// the same file share it; the first of them says where it is and how large.
func (r *running) prepareDrives() error {
	files := map[string]string{}
	for _, d := range r.m.img.Drives {
		file := cmp.Or(d.FileID, d.ID)
		path, ok := files[file]
		if !ok {
			var err error
			if path, err = r.driveFile(cmp.Or(d.Directory, drivesDir), file, d.Size, slices.Contains(d.Flags, persistent)); err != nil {
				return fmt.Errorf("making the drive %s: %w", d.ID, err)
			}
			files[file] = path
		}
		r.drives = append(r.drives, drive{d.ID, path, d.Options, directIO(path)})
	}
	return nil
}

// driveFile makes the file of a drive.
func (r *running) driveFile(dir, file string, size int64, persist bool) (string, error) {
	name := "mkosi-drive-" + r.m.Name() + "-" + file
	if filepath.Base(name) != name {
		return "", fmt.Errorf("%q cannot be the name of a file", name)
	}
	path := filepath.Join(dir, name)
	how := os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW | unix.O_NONBLOCK // which waits for nobody at a pipe
	if !persist {
		staging, err := r.beside(path)
		if err != nil {
			return "", err
		}
		path = staging.Path(name)
		how |= os.O_EXCL
	}
	f, err := os.OpenFile(path, how, 0o600)
	if err != nil {
		return "", err
	}
	// A kept file that is larger keeps its size: what is in it would be lost.
	fi, err := f.Stat()
	if err == nil {
		err = ownFile(path, fi)
	}
	if err == nil && fi.Size() < size {
		err = f.Truncate(size)
	}
	return path, errors.Join(err, f.Close())
}

// ownFile refuses what somebody else has put where a file of this user's is expected: in a directory that is everybody's,
// that can be a name of any file.
func ownFile(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular() || st.Nlink != 1:
		return fmt.Errorf("%s is no regular file with one name only", path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user", path)
	}
	return nil
}
