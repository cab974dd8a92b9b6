package inspect

import (
	"archive/tar"
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// archiveTree collects the entries of an archive. Later ones replace earlier
// ones, and folders that nothing names are made up.
type archiveTree struct {
	ctx     context.Context
	entries map[string]content.Entry
	bytes   int
}

// maxArchiveBytes bounds names and attributes of an archive together.
const maxArchiveBytes = 1 << 30

func newArchiveTree(ctx context.Context) *archiveTree {
	return &archiveTree{ctx, map[string]content.Entry{"": {Mode: unix.S_IFDIR | 0o755}}, 0}
}

func (t *archiveTree) add(name string, e content.Entry) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	name, err := archiveName(name)
	if err != nil {
		return err
	}
	e.Path = name
	t.bytes += len(name) + len(e.Target)
	for _, x := range e.Xattrs {
		t.bytes += len(x.Name) + len(x.Value)
	}
	// The folders above take memory too.
	for dir := e.Parent(); dir != ""; dir = parentOf(dir) {
		if above, ok := t.entries[dir]; ok && above.IsDir() {
			break
		}
		t.entries[dir] = content.Entry{Path: dir, Mode: unix.S_IFDIR | 0o755}
		t.bytes += len(dir)
	}
	if t.entries[name] = e; len(t.entries) > content.MaxEntries || t.bytes > maxArchiveBytes {
		return fmt.Errorf("it has more than %d entries, or names that are too long", content.MaxEntries)
	}
	return nil
}

// archiveName turns a name of an archive into the path of an entry.
func archiveName(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("the name %.200q leads out of the archive", name)
		}
	}
	return path.Clean("/" + name)[1:], nil
}

// finish returns the tree. Hard links lead to the entries that they name; the
// first name in the order of the tree becomes the file.
func (t *archiveTree) finish() (content.Tree, error) {
	tree := make(content.Tree, 0, len(t.entries))
	groups := map[string][]string{}
	for name, e := range t.entries {
		if !t.reachable(name) {
			continue
		}
		if e.HardLink {
			target, ok := t.resolve(e.Link)
			if !ok {
				return nil, fmt.Errorf("%.200q is a hard link to %.200q, which is no file of the archive", name, e.Link)
			}
			groups[target] = append(groups[target], name)
			continue
		}
		tree = append(tree, e)
	}
	if len(groups) > 0 {
		index := map[string]int{}
		for i, e := range tree {
			index[e.Path] = i
		}
		for target, links := range groups {
			slices.SortFunc(links, content.ComparePaths)
			i := index[target]
			if content.ComparePaths(links[0], target) < 0 {
				tree[i].Path, links[0] = links[0], target
			}
			for _, name := range links {
				link := tree[i]
				link.Path, link.HardLink, link.Link = name, true, tree[i].Path
				tree = append(tree, link)
			}
		}
	}
	tree.Sort()
	return tree, tree.Check()
}

// reachable reports whether no file has replaced a folder above.
func (t *archiveTree) reachable(name string) bool {
	for name != "" {
		if name = parentOf(name); !t.isDir(name) {
			return false
		}
	}
	return true
}

func (t *archiveTree) isDir(name string) bool {
	e, ok := t.entries[name]
	return ok && e.IsDir()
}

// resolve follows hard links to hard links.
func (t *archiveTree) resolve(name string) (string, bool) {
	for range 16 {
		e, ok := t.entries[name]
		if !ok || e.IsDir() || !t.reachable(name) {
			return "", false
		}
		if !e.HardLink {
			return name, true
		}
		name = e.Link
	}
	return "", false
}

func parentOf(name string) string { return name[:max(strings.LastIndexByte(name, '/'), 0)] }

// readArchive reads the entries of an archive. Behind a cpio archive others may
// follow, compressed ones too, as in an initrd.
func (s *Source) readArchive(ctx context.Context, maxSize int64) error {
	t := newArchiveTree(ctx)
	err := error(nil)
	if s.format == FormatTar {
		err = s.readTar(t, maxSize)
	} else {
		err = s.readInitrd(t, maxSize)
	}
	if err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	s.tree, err = t.finish()
	return err
}

// counter counts what is read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (s *Source) readTar(t *archiveTree, maxSize int64) error {
	left := cmp.Or(maxSize, DefaultMaxSize)
	r := &counter{r: io.NewSectionReader(s.r, 0, s.size)}
	archive := tar.NewReader(r)
	for {
		start := r.n
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		// A file with holes may be larger than the archive.
		if left -= max(h.Size, 0); left < 0 {
			return ErrTooLarge
		}
		e, ok, err := tarEntry(h)
		if err != nil {
			return err
		}
		if e.Type() == unix.S_IFREG {
			// The entry is found again where it starts, behind what padding
			// there is.
			e.Open = func() (io.ReadCloser, error) { return openTar(s.r, start, s.size, h.Name) }
		}
		if ok {
			if err := t.add(h.Name, e); err != nil {
				return err
			}
		}
		// What is behind a header is read to the end, so that the next one
		// starts where counting says.
		if _, err := io.Copy(io.Discard, archive); err != nil {
			return err
		}
	}
}

// openTar opens the entry whose headers start at an offset.
func openTar(r io.ReaderAt, start, size int64, name string) (io.ReadCloser, error) {
	const block = 512
	start = (start + block - 1) / block * block
	archive := tar.NewReader(io.NewSectionReader(r, start, size-start))
	h, err := archive.Next()
	if err != nil {
		return nil, err
	}
	if h.Name != name {
		return nil, fmt.Errorf("the archive has changed")
	}
	return io.NopCloser(archive), nil
}

// tarEntry describes an entry; false means that it is none of the tree.
func tarEntry(h *tar.Header) (content.Entry, bool, error) {
	e := content.Entry{
		Mode: uint32(h.Mode) & 0o7777, UID: uint32(h.Uid), GID: uint32(h.Gid), Mtime: h.ModTime.Unix(), MtimeNsec: uint32(h.ModTime.Nanosecond()),
		Major: uint32(h.Devmajor), Minor: uint32(h.Devminor),
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			e.Xattrs = append(e.Xattrs, content.Xattr{Name: name, Value: []byte(value)})
		}
	}
	slices.SortFunc(e.Xattrs, func(a, b content.Xattr) int { return strings.Compare(a.Name, b.Name) })
	var err error
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		e.Mode |= unix.S_IFREG
		e.Size = h.Size
	case tar.TypeLink:
		e.HardLink = true
		e.Link, err = archiveName(h.Linkname)
	case tar.TypeSymlink:
		e.Mode |= unix.S_IFLNK
		e.Target = h.Linkname
	case tar.TypeDir:
		e.Mode |= unix.S_IFDIR
	case tar.TypeFifo:
		e.Mode |= unix.S_IFIFO
	case tar.TypeChar:
		e.Mode |= unix.S_IFCHR
	case tar.TypeBlock:
		e.Mode |= unix.S_IFBLK
	case tar.TypeXGlobalHeader:
		return e, false, nil
	default:
		err = fmt.Errorf("%.200q is of the unknown type %q", h.Name, h.Typeflag)
	}
	return e, true, err
}
