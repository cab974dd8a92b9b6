package deb

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// place identifies a name in a directory, however the directory was reached.
type place struct {
	dev, ino uint64
	name     string
}

// tree is the image's root while packages are unpacked into it. All paths are
// resolved by the kernel as if the root were "/", so that a symbolic link
// cannot lead out of it. Safe for concurrent use.
type tree struct {
	root *os.File
	// ignoreOwners leaves files to the caller.
	ignoreOwners bool

	// making is held while a directory is made and until made tells of it: a second package that has it in between would
	// take it for one that was there before the wave. Locked before mu.
	making sync.Mutex

	mu   sync.Mutex
	dirs map[string]*directory // by path; open
	// owners tells which package put a file or link at a place.
	owners map[place]string
	// made tells the directories that packages brought, by place of
	// themselves, with the attributes from the first package in order.
	made map[inode]*attributes
	// claimed and created list what this wave did, for undo.
	claimed []place
	created []created
}

type inode struct{ dev, ino uint64 }

// directory is an open directory.
type directory struct {
	fd int
	inode
}

// attributes are what a directory gets when its wave is unpacked.
type attributes struct {
	path     string
	order    int // of the package that it is from
	uid, gid int
	mode     uint32
	sec      int64
	nsec     int64
}

type created struct {
	dir  string
	name string
}

func openTree(root string, ignoreOwners bool) (*tree, error) {
	f, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the image's tree: %w", err)
	}
	return &tree{
		root:         f,
		ignoreOwners: ignoreOwners,
		dirs:         map[string]*directory{},
		owners:       map[place]string{},
		made:         map[inode]*attributes{},
	}, nil
}

// forget closes the open directories, because programs may have changed what
// is at their paths, and what was created can no longer be undone.
func (t *tree) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closeDirs()
	clear(t.made)
	t.claimed, t.created = nil, nil
}

// closeDirs closes all directories. mu is held.
func (t *tree) closeDirs() {
	for _, d := range t.dirs {
		unix.Close(d.fd)
	}
	clear(t.dirs)
}

func (t *tree) close() {
	t.forget()
	t.root.Close()
}

// clean turns a member's name into a path relative to the root: "." or
// without leading and trailing slashes. Names that climb are refused.
func clean(name string) (string, error) {
	p := path.Clean(strings.TrimLeft(name, "/"))
	if p == ".." || strings.HasPrefix(p, "../") || strings.ContainsRune(p, 0) || name == "" {
		return "", fmt.Errorf("member %q leaves the tree", name)
	}
	return p, nil
}

// dir returns the directory at p, which must exist.
func (t *tree) dir(p string) (*directory, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d, ok := t.dirs[p]; ok {
		return d, nil
	}
	fd, err := unix.Openat2(int(t.root.Fd()), p, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return nil, conflict("the packages have more directories than files may be open at the same time")
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/" + p, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: "/" + p, Err: err}
	}
	d := &directory{fd, inode{uint64(st.Dev), st.Ino}}
	t.dirs[p] = d
	return d, nil
}

// mkdir makes the directory at p, or keeps what is there when it is a
// directory or leads to one. The attributes are kept for finish.
func (t *tree) mkdir(p string, a *attributes) error {
	t.making.Lock()
	defer t.making.Unlock()
	fresh := false
	if p != "." {
		parent, err := t.dir(path.Dir(p))
		if err != nil {
			return err
		}
		switch err := unix.Mkdirat(parent.fd, path.Base(p), 0o700); {
		case err == nil:
			fresh = true
			t.note(path.Dir(p), path.Base(p))
		case !errors.Is(err, unix.EEXIST):
			return &os.PathError{Op: "mkdir", Path: "/" + p, Err: err}
		}
	}
	d, err := t.dir(p)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENOENT) {
		return conflict("/%s is a directory in one package and something else in another", p)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if fresh {
		t.made[d.inode] = &attributes{path: p, order: unknownOrder}
	}
	// A directory that was there before the wave keeps its attributes.
	if old, ok := t.made[d.inode]; ok && a.order < old.order {
		*old = *a
		old.path = p
	}
	return nil
}

const unknownOrder = int(^uint(0) >> 1)

// claim says that pkg puts a file or link at name in d.
func (t *tree) claim(d *directory, dir, name, pkg string) error {
	key := place{d.dev, d.ino, name}
	t.mu.Lock()
	defer t.mu.Unlock()
	if other, ok := t.owners[key]; ok {
		return conflict("/%s is in both %s and %s", path.Join(dir, name), other, pkg)
	}
	t.owners[key] = pkg
	t.claimed = append(t.claimed, key)
	return nil
}

// note says that name in the directory at dir has been made.
func (t *tree) note(dir, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.created = append(t.created, created{dir, name})
}

// adopt makes the root directory, which no package of the wave created, take
// a package's attributes.
func (t *tree) adopt(p string) error {
	d, err := t.dir(p)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made[d.inode] = &attributes{path: p, order: unknownOrder}
	return nil
}

// finish gives the wave's directories their attributes. Directories whose
// attributes nobody told keep the mode 0755.
func (t *tree) finish() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.made {
		if a.order == unknownOrder {
			continue
		}
		d := t.dirs[a.path]
		self := fmt.Sprintf("/proc/self/fd/%d", d.fd)
		if err := t.chown(d.fd, "", a.uid, a.gid, unix.AT_EMPTY_PATH); err != nil {
			return &os.PathError{Op: "chown", Path: "/" + a.path, Err: err}
		}
		if err := unix.Chmod(self, a.mode); err != nil {
			return &os.PathError{Op: "chmod", Path: "/" + a.path, Err: err}
		}
		ts := []unix.Timespec{{Sec: a.sec, Nsec: a.nsec}, {Sec: a.sec, Nsec: a.nsec}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, self, ts, 0); err != nil {
			return &os.PathError{Op: "utimes", Path: "/" + a.path, Err: err}
		}
	}
	return nil
}

// chown sets an owner, unless owners are ignored.
func (t *tree) chown(fd int, name string, uid, gid, flags int) error {
	if t.ignoreOwners {
		return nil
	}
	return unix.Fchownat(fd, name, uid, gid, flags)
}

// undo removes what the wave created, newest first, as far as it goes.
func (t *tree) undo() {
	t.mu.Lock()
	list := t.created
	for _, p := range t.claimed {
		delete(t.owners, p)
	}
	t.closeDirs() // undoing needs a few of its own
	t.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		if i%256 == 0 {
			t.mu.Lock()
			t.closeDirs()
			t.mu.Unlock()
		}
		c := list[i]
		d, err := t.dir(c.dir)
		if err != nil {
			continue
		}
		if unix.Unlinkat(d.fd, c.name, 0) != nil {
			_ = unix.Unlinkat(d.fd, c.name, unix.AT_REMOVEDIR)
		}
	}
	t.forget()
}

// conflictError is something that only dpkg itself can sort out.
type conflictError struct{ msg string }

func (e *conflictError) Error() string { return e.msg }

func conflict(format string, args ...any) error {
	return &conflictError{fmt.Sprintf(format, args...)}
}
