package fat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	// maxPath is the length of the longest path that is read, in bytes, as
	// Linux has it.
	maxPath = 4096
	// maxPaths is how long all paths together can be.
	maxPaths = 256 << 20
)

// Read reads the folders and files of the file system in the first size bytes
// of r, which has to stay open as long as the files in the tree are read. They
// belong to root and have the permissions 0755 and 0644, or 0555 and 0444 when
// they are marked as read-only. Names can be longer than Linux allows. A damaged
// file system is an error.
func Read(ctx context.Context, r io.ReaderAt, size int64) (content.Tree, error) {
	f, err := open(r, size)
	if err != nil {
		return nil, err
	}
	rd := &reader{
		fileSystem: f,
		ctx:        ctx,
		links:      links{f.volume, r, map[int64][]byte{}},
		taken:      make([]uint64, f.clusters/64+1),
	}
	rd.tree = content.Tree{{Mode: unix.S_IFDIR | 0o755, Mtime: firstTime.Unix()}}
	// What is below a folder is read when its turn comes, not by recursion,
	// which a foreign file system could make deep.
	rd.waiting = []folder{{"", f.rootCluster}}
	for len(rd.waiting) > 0 {
		last := len(rd.waiting) - 1
		dir := rd.waiting[last]
		rd.waiting = rd.waiting[:last]
		if err := rd.readFolder(dir); err != nil {
			return nil, fmt.Errorf("/%s: %w", dir.path, err)
		}
	}
	rd.tree.Sort()
	return rd.tree, nil
}

// folder is one that is still to be read.
type folder struct {
	path  string
	first uint32
}

// reader reads all of a file system.
type reader struct {
	*fileSystem
	ctx   context.Context
	links links
	// taken has a bit for every cluster that belongs to something.
	taken   []uint64
	tree    content.Tree
	waiting []folder
	paths   int // the length of all so far
}

// readFolder adds what is in a folder to the tree.
func (r *reader) readFolder(dir folder) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	data, err := r.folderData(dir)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for e := range decodeDir(data) {
		if e.attr&attrLabel != 0 || e.name == "." || e.name == ".." {
			continue
		}
		if e.name == "" || strings.ContainsAny(e.name, "/\x00") {
			return fmt.Errorf("%q is not a valid name", e.name)
		}
		if seen[e.name] {
			return fmt.Errorf("there are two files with the name %q", e.name)
		}
		seen[e.name] = true
		if err := r.add(dir, e); err != nil {
			return fmt.Errorf("%q: %w", e.name, err)
		}
	}
	return nil
}

// folderData reads a folder.
func (r *reader) folderData(dir folder) ([]byte, error) {
	if dir.path == "" && r.root > 0 {
		b := make([]byte, r.root*r.sector)
		return b, readAt(r.r, b, r.rootOffset())
	}
	limit := maxEntries * entrySize / r.clusterSize()
	runs, whole, err := r.chain(dir.first, limit)
	if err != nil {
		return nil, err
	}
	if !whole {
		return nil, fmt.Errorf("the folder has more than %d entries", maxEntries)
	}
	return io.ReadAll(&runReader{fileSystem: r.fileSystem, runs: runs, left: math.MaxInt64})
}

// add adds an entry to the tree.
func (r *reader) add(dir folder, e dirEntry) error {
	path := strings.TrimPrefix(dir.path+"/"+e.name, "/")
	r.paths += len(path)
	if len(path) > maxPath || r.paths > maxPaths || len(r.tree) >= content.MaxEntries {
		return errors.New("the file system has more names, or longer ones, than can be read")
	}
	if r.bits < 32 {
		e.first &= 0xffff // what is above means something else
	}
	c := content.Entry{Path: path, Mode: unix.S_IFREG | 0o644, Mtime: decodeTime(e.day, e.clock)}
	if e.attr&attrDir != 0 {
		c.Mode = unix.S_IFDIR | 0o755
		r.waiting = append(r.waiting, folder{path, e.first})
	} else if c.Size = int64(e.size); c.Size > 0 {
		need := divideUp(c.Size, r.clusterSize())
		runs, _, err := r.chain(e.first, need)
		if err != nil {
			return err
		}
		has := int64(0)
		for _, run := range runs {
			has += int64(run.count)
		}
		if has < need {
			return fmt.Errorf("the file has %d bytes, but only %d clusters", c.Size, has)
		}
		c.Open = func() (io.ReadCloser, error) {
			return &runReader{fileSystem: r.fileSystem, runs: runs, left: c.Size}, nil
		}
	}
	if e.attr&attrReadOnly != 0 {
		c.Mode &^= 0o222
	}
	r.tree = append(r.tree, c)
	return nil
}
