package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Selection says which parts of a folder become which parts of a tree.
type Selection struct {
	// Root is the folder that sources are in. Nothing outside of it is read.
	Root string
	// Copies are applied in order; a later one replaces what it has in common
	// with earlier ones. A source that does not exist is left out.
	Copies []Copy
	// Exclude are absolute source paths to leave out; with a slash at the end
	// the folder itself stays, empty.
	Exclude []string
	// ExcludeTarget are the same for target paths.
	ExcludeTarget []string
	// Directories are target folders to make when nothing copied makes them,
	// mode 0755, owned by root.
	Directories []string
	// Symlinks are links to make, owned by root. It is an error if something
	// else has the name of one.
	Symlinks []Symlink
	// Files are regular files to make, mode 0644, owned by root, in place of
	// those that were copied.
	Files []File
	// ClampMtime, when set, is the latest modification time, in seconds.
	ClampMtime *int64
}

// Copy is one source, an absolute path inside the root, and its target, an
// absolute path in the tree.
type Copy struct {
	Source, Target string
}

// Symlink is a link to make: Path is an absolute path in the tree, Target what
// the link says.
type Symlink struct {
	Path, Target string
}

// File is a file to make: Path is an absolute path in the tree.
type File struct {
	Path    string
	Content []byte
}

// walker collects the entries of a selection.
type walker struct {
	ctx     context.Context
	sel     *Selection
	root    *os.Root
	top     *os.File
	entries map[string]Entry
	// inodes has the files with more than one name, by their targets.
	inodes       map[string]inode
	exact        map[string]bool
	inside       map[string]bool
	exactTarget  map[string]bool
	insideTarget map[string]bool
}

type inode struct{ dev, ino uint64 }

// Read returns the tree of a selection. The files in it can be opened until
// the returned function is called.
func Read(ctx context.Context, sel Selection) (Tree, func() error, error) {
	root, err := os.OpenRoot(sel.Root)
	if err != nil {
		return nil, nil, err
	}
	w := &walker{ctx: ctx, sel: &sel, root: root, entries: map[string]Entry{}, inodes: map[string]inode{}}
	w.exact, w.inside = excluded(sel.Exclude)
	w.exactTarget, w.insideTarget = excluded(sel.ExcludeTarget)
	tree, err := w.read()
	if err != nil {
		w.close()
		return nil, nil, fmt.Errorf("reading %s: %w", sel.Root, err)
	}
	return tree, w.close, nil
}

func (w *walker) close() error {
	err := w.root.Close()
	if w.top != nil {
		err = errors.Join(err, w.top.Close())
	}
	return err
}

// excluded splits paths into those that are left out and those whose content
// is left out.
func excluded(paths []string) (exact, inside map[string]bool) {
	exact, inside = map[string]bool{}, map[string]bool{}
	for _, p := range paths {
		clean := relative(p)
		if strings.HasSuffix(p, "/") {
			inside[clean] = true
		} else {
			exact[clean] = true
		}
	}
	return exact, inside
}

// relative turns an absolute path into one relative to the top.
func relative(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

func (w *walker) read() (Tree, error) {
	top, err := w.root.Open(".")
	if err != nil {
		return nil, err
	}
	w.top = top
	var st unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &st); err != nil {
		return nil, err
	}
	implied := Entry{Mode: unix.S_IFDIR | 0o755, Mtime: st.Mtim.Sec, MtimeNsec: uint32(st.Mtim.Nsec)}
	for _, c := range w.sel.Copies {
		if err := w.copy(relative(c.Source), relative(c.Target)); err != nil {
			return nil, err
		}
	}
	for _, dir := range w.sel.Directories {
		dir = relative(dir)
		if _, ok := w.entries[dir]; !ok {
			e := implied
			e.Path = dir
			w.entries[dir] = e
		}
	}
	if err := w.make(implied); err != nil {
		return nil, err
	}
	return w.finish(implied)
}

// make adds what is made rather than copied.
func (w *walker) make(implied Entry) error {
	for _, l := range w.sel.Symlinks {
		e := implied
		e.Path, e.Mode, e.Target = relative(l.Path), unix.S_IFLNK|0o777, l.Target
		if _, ok := w.entries[e.Path]; ok {
			return fmt.Errorf("a symbolic link is to be made where /%s is already", e.Path)
		}
		w.entries[e.Path] = e
	}
	for _, f := range w.sel.Files {
		e := implied
		e.Path, e.Mode, e.Size = relative(f.Path), unix.S_IFREG|0o644, int64(len(f.Content))
		e.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Content)), nil }
		delete(w.inodes, e.Path)
		if err := w.add(e); err != nil {
			return err
		}
	}
	return nil
}

// copy adds one source below the root to the tree.
func (w *walker) copy(source, target string) error {
	if source == "" {
		return w.dir(int(w.top.Fd()), source, target)
	}
	parent, err := w.root.Open(cleanDir(path.Dir(source)))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer parent.Close()
	err = w.entry(int(parent.Fd()), path.Base(source), source, target)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func cleanDir(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// entry adds the name in the open folder dirfd, and what is below it.
func (w *walker) entry(dirfd int, name, source, target string) error {
	if w.exact[source] || w.exactTarget[target] {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: source, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: source, Err: err}
		}
		defer unix.Close(fd)
		return w.dir(fd, source, target)
	}
	e, err := w.describe(fmt.Sprintf("/proc/self/fd/%d/%s", dirfd, name), &st, source, target)
	if err != nil {
		return err
	}
	if e.Type() == unix.S_IFLNK {
		if e.Target, err = readlink(dirfd, name); err != nil {
			return &os.PathError{Op: "readlink", Path: source, Err: err}
		}
	}
	if e.Type() == unix.S_IFREG {
		e.Size = st.Size
		id := inode{uint64(st.Dev), st.Ino}
		e.Open = func() (io.ReadCloser, error) { return w.open(source, id) }
		if st.Size >= minSparse && st.Blocks*512 < st.Size {
			if e.Data, err = dataRanges(dirfd, name, st.Size); err != nil {
				return &os.PathError{Op: "seek", Path: source, Err: err}
			}
		}
	}
	if st.Nlink > 1 {
		w.inodes[target] = inode{uint64(st.Dev), st.Ino}
	} else {
		delete(w.inodes, target)
	}
	return w.add(e)
}

// dir adds the open folder fd and what is in it.
func (w *walker) dir(fd int, source, target string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: source, Err: err}
	}
	e, err := w.describe(fmt.Sprintf("/proc/self/fd/%d", fd), &st, source, target)
	if err != nil {
		return err
	}
	if err := w.add(e); err != nil {
		return err
	}
	if w.inside[source] || w.insideTarget[target] {
		return nil
	}
	names, err := readNames(fd)
	if err != nil {
		return &os.PathError{Op: "readdir", Path: source, Err: err}
	}
	for _, name := range names {
		if err := w.entry(fd, name, path.Join(source, name), path.Join(target, name)); err != nil {
			return err
		}
	}
	return nil
}

// readNames lists a folder, sorted, without changing the offset of fd.
func readNames(fd int) ([]string, error) {
	other, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(other), ".")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (w *walker) add(e Entry) error {
	if old, ok := w.entries[e.Path]; ok && old.IsDir() != e.IsDir() {
		return fmt.Errorf("/%s is copied both as a folder and as a file", e.Path)
	}
	w.entries[e.Path] = e
	return nil
}

// describe fills in what all types of entries have. link is a path to it that
// leads through an open folder.
func (w *walker) describe(link string, st *unix.Stat_t, source, target string) (Entry, error) {
	e := Entry{
		Path: target, Mode: st.Mode, UID: st.Uid, GID: st.Gid,
		Mtime: st.Mtim.Sec, MtimeNsec: uint32(st.Mtim.Nsec),
	}
	if t := e.Type(); t == unix.S_IFCHR || t == unix.S_IFBLK {
		e.Major, e.Minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	}
	list, get := unix.Llistxattr, unix.Lgetxattr
	if e.IsDir() { // link is the folder's own descriptor, which is to be followed
		list, get = unix.Listxattr, unix.Getxattr
	}
	var err error
	if e.Xattrs, err = readXattrs(link, list, get); err != nil {
		return e, fmt.Errorf("reading the extended attributes of /%s: %w", source, err)
	}
	return e, nil
}

func readlink(dirfd int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dirfd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// readXattrs reads all attributes but those that belong to an overlay mount
// rather than to the file.
func readXattrs(link string, list func(string, []byte) (int, error), get func(string, string, []byte) (int, error)) ([]Xattr, error) {
	n, err := list(link, nil)
	if n == 0 || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	buf := make([]byte, n)
	// An overlay counts attributes of its own that it then does not list.
	if n, err = list(link, buf); err != nil || n == 0 {
		return nil, err
	}
	var xattrs []Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		size, err := get(link, name, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		value := make([]byte, size)
		if size > 0 {
			if size, err = get(link, name, value); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		xattrs = append(xattrs, Xattr{name, value[:size]})
	}
	slices.SortFunc(xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return xattrs, nil
}

// finish adds the folders that targets imply, and turns the further names of a
// file into hard links.
func (w *walker) finish(implied Entry) (Tree, error) {
	for _, p := range sortedKeys(w.entries) {
		for p != "" {
			p = strings.TrimPrefix(path.Dir("/"+p), "/")
			if parent, ok := w.entries[p]; !ok {
				implied.Path = p
				w.entries[p] = implied
			} else if !parent.IsDir() {
				return nil, fmt.Errorf("/%s is copied as a file, but has others in it", p)
			}
		}
	}
	if _, ok := w.entries[""]; !ok {
		implied.Path = ""
		w.entries[""] = implied
	}
	tree := make(Tree, 0, len(w.entries))
	for _, e := range w.entries {
		if limit := w.sel.ClampMtime; limit != nil && e.Mtime >= *limit {
			e.Mtime, e.MtimeNsec = *limit, 0
		}
		tree = append(tree, e)
	}
	tree.Sort()
	first := map[inode]string{}
	for i := range tree {
		id, ok := w.inodes[tree[i].Path]
		if !ok {
			continue
		}
		if earlier, ok := first[id]; ok {
			tree[i].HardLink, tree[i].Link = true, earlier
		} else {
			first[id] = tree[i].Path
		}
	}
	return tree, tree.Check()
}

func sortedKeys(m map[string]Entry) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
