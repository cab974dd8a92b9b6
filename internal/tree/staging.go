package tree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stagingPrefix starts the name of every staging directory.
const stagingPrefix = ".mkosi-"

// Staging is a private directory beside the outputs, on their file system, in
// which they are made before they are renamed into place. It is locked while
// its owner lives, so that a later run can tell it from what a killed one left
// behind. Close removes it.
type Staging struct {
	path string
	lock *os.File // the directory itself, held with flock(2)
	// inside is a directory in it, of which [Staging.Path] is about.
	inside string
}

// Stage removes the staging directories in dir whose owners are gone and makes
// a new one there, with mode 0700. dir must exist. The caller closes it.
func Stage(ctx context.Context, dir string) (*Staging, error) {
	if err := cleanStale(ctx, dir); err != nil {
		return nil, err
	}
	for {
		path, err := os.MkdirTemp(dir, stagingPrefix)
		if err != nil {
			return nil, fmt.Errorf("making a staging directory: %w", err)
		}
		s, err := holdStaging(path)
		if err != nil {
			return nil, err
		}
		if s != nil {
			return s, nil
		}
	}
}

// stagingPoll is how often StageAs looks whether the directory it waits for is free.
const stagingPoll = 50 * time.Millisecond

// StageAs is Stage with a directory that id names and that one process at a
// time has, so that of those who want to make the same thing in dir one does
// and the others wait. waiting, if it is not nil, is called once when that is
// so. The wait ends with the context's cause when ctx is done.
func StageAs(ctx context.Context, dir string, id uint64, waiting func()) (*Staging, error) {
	if err := cleanStale(ctx, dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, stagingPrefix+strconv.FormatUint(id, 10))
	for tries := 0; ; tries++ {
		err := os.Mkdir(path, 0o700)
		if err == nil {
			if s, err := holdStaging(path); s != nil || err != nil {
				return s, err
			}
		} else if !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("making a staging directory: %w", err)
		} else if err := removeStale(ctx, path); err != nil {
			return nil, err
		}
		if tries == 2 && waiting != nil { // before that it may be somebody who only looks for stale ones
			waiting()
		}
		if tries == 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(stagingPoll):
		}
	}
}

// holdStaging locks a staging directory that was just made. It returns nil if
// somebody took it for a stale one in the moment before it was locked.
func holdStaging(path string) (*Staging, error) {
	lock, err := lockDir(path)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// It may have been removed between being made and being locked.
	if here, err := sameFile(lock, path); err == nil && here {
		inside, err := spreadDir(lock, path)
		if err != nil {
			lock.Close()
			return nil, fmt.Errorf("making a staging directory: %w", err)
		}
		return &Staging{path: path, inside: inside, lock: lock}, nil
	}
	lock.Close()
	return nil, nil
}

// topDir is FS_TOPDIR_FL of the kernel, the attribute T of chattr(1).
const topDir = 0x20000

// spreadDir makes a directory in the staging directory at some place of the
// disk, not near others. ext4 makes files near their directory, and hesitates to
// use the inodes of files again that have just been removed: for each new one it
// looks through all of them. Where one tree after another is made and removed in
// one place, a file costs a millisecond. With the attribute it chooses a place by
// the new directory's name, which therefore is random. Other file systems do not
// have all that, and need not know the attribute.
func spreadDir(staging *os.File, path string) (string, error) {
	flags, err := unix.IoctlGetInt(int(staging.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		_ = unix.IoctlSetPointerInt(int(staging.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir)
	}
	return os.MkdirTemp(path, "")
}

// removeStale removes the staging directory path unless its owner lives. One
// of another user is an error: nobody may ever unlock it.
func removeStale(ctx context.Context, path string) error {
	lock, err := lockDir(path)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", path, err)
	}
	defer lock.Close()
	if !ours(lock) {
		return fmt.Errorf("%s belongs to another user", path)
	}
	// What was opened may be gone, and another one in its place, whose lock is
	// not ours.
	if here, err := sameFile(lock, path); err != nil || !here {
		return nil
	}
	return RemoveAll(ctx, path)
}

// Dir returns the path of the staging directory.
func (s *Staging) Dir() string { return s.path }

// Path returns the path of name inside the staging directory, in a directory of
// mode 0700 in it.
func (s *Staging) Path(name string) string { return filepath.Join(s.inside, name) }

// Close removes the staging directory with all it holds and releases its lock.
// Closing twice is no error.
func (s *Staging) Close() error {
	if s.lock == nil {
		return nil
	}
	// Not the caller's context: a cancelled build cleans up as well.
	err := RemoveAll(context.Background(), s.path)
	if e := s.lock.Close(); err == nil && e != nil {
		err = fmt.Errorf("unlocking %s: %w", s.path, e)
	}
	s.lock = nil
	return err
}

// CleanStaging removes the staging directories in dir whose owners are gone,
// as Stage does.
func CleanStaging(ctx context.Context, dir string) error { return cleanStale(ctx, dir) }

// Keep unlocks the staging directory without removing it and gives it a new name beside the old one, prefix and a number,
// under which no later run removes it. It returns the new path. Close does nothing afterwards.
func (s *Staging) Keep(prefix string) (string, error) {
	if s.lock == nil {
		return "", errors.New("keeping a staging directory that was removed")
	}
	path := filepath.Join(filepath.Dir(s.path), prefix+strings.TrimPrefix(filepath.Base(s.path), stagingPrefix))
	if err := unix.Renameat2(unix.AT_FDCWD, s.path, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE); err != nil {
		return "", fmt.Errorf("keeping %s as %s: %w", s.path, path, err)
	}
	s.lock.Close()
	s.inside = filepath.Join(path, filepath.Base(s.inside))
	s.path, s.lock = path, nil
	return path, nil
}

// cleanStale removes this user's staging directories in dir that nobody has
// locked. dir may be shared with others, whose directories are theirs to
// remove, and what cannot be removed is no reason not to make a new one.
func cleanStale(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for stale staging directories: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !isStagingName(e.Name()) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// In use, gone by now, or another user's: all of them are left alone.
		_ = removeStale(ctx, filepath.Join(dir, e.Name()))
	}
	return nil
}

// ours reports whether a directory belongs to this process's user.
func ours(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && int(st.Uid) == os.Geteuid()
}

// isStagingName tells our directories, whose random part is a number, from
// other files that a person may have named alike.
func isStagingName(name string) bool {
	digits, ok := strings.CutPrefix(name, stagingPrefix)
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// lockDir opens the directory path and locks it for as long as the file is
// open. A lock that is held is EWOULDBLOCK.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	_, err = retry(func() (int, error) { return 0, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func sameFile(f *os.File, path string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b), err
}

// Swap moves the file or directory fresh to the place of old in one step, so
// that at no moment there is neither. A directory that was there before, or
// that a file replaces, is left at fresh, or beside it at fresh with ".old"
// where the file system cannot exchange two names: removing it may take long,
// and the caller has a staging directory to throw away anyhow. Both must be on
// one file system; fresh must not be inside old.
func Swap(fresh, old string) error {
	if err := swap(fresh, old); err != nil {
		return fmt.Errorf("moving %s to %s: %w", fresh, old, err)
	}
	return nil
}

func swap(fresh, old string) error {
	// A rename replaces files in one step, and is all there is to do when
	// nothing is there yet.
	err := unix.Rename(fresh, old)
	switch err {
	case unix.ENOTEMPTY, unix.EEXIST, unix.EISDIR, unix.ENOTDIR:
	default:
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, old, unix.RENAME_EXCHANGE)
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	aside := fresh + ".old"
	if err := unix.Rename(old, aside); err != nil {
		return err
	}
	if err := unix.Rename(fresh, old); err != nil {
		return errors.Join(err, unix.Rename(aside, old))
	}
	return nil
}
