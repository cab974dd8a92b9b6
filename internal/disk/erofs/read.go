package erofs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// maxPath is how long a path within an image may be, in bytes.
const maxPath = 4096

// errCorrupt is what is wrong with an image that contradicts itself.
var errCorrupt = errors.New("the EROFS image is damaged")

// corrupt is an errCorrupt that says where.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errCorrupt, fmt.Sprintf(format, args...))
}

// image is a foreign image that is being read. Its files are read side by side.
type image struct {
	r    io.ReaderAt
	size int64
	superblock
	// longPrefixes are beginnings of attribute names that this image defines.
	longPrefixes []string
	// dictionary is the largest one that LZMA streams need, in bytes.
	dictionary uint32
	// packed is the inode that small files are parts of; nil means none.
	packed *packedInode
	// zstd keeps decoders for the next use.
	zstd sync.Pool
}

// Read reads the tree of the image in r, which is size bytes long. r must stay
// open while files of the tree are read. The content of a file that is stored
// in a way that is not supported, or damaged, makes opening or reading that file
// fail, and nothing else.
func Read(ctx context.Context, r io.ReaderAt, size int64) (content.Tree, error) {
	s, err := readSuperblock(r, size)
	if err != nil {
		return nil, err
	}
	if s.checksum == ChecksumBad {
		return nil, corrupt("the checksum of the superblock is wrong")
	}
	const unsupported = incompat48Bit | incompatMetaBox | math.MaxUint32&^(incompatUnknownFirst-1)
	if u := s.incompat & unsupported; u != 0 {
		return nil, fmt.Errorf("EROFS images with the features %s are not supported", strings.Join(bitNames(u, incompatNames, "incompat"), ", "))
	}
	im := &image{r: r, size: size, superblock: *s}
	w := &walker{
		ctx: ctx, im: im, meta: im.window(),
		dirs: map[uint64]bool{}, names: map[uint64]string{},
		// What is kept of a file takes more room than what it takes at least.
		room: 16<<20 + 64*size,
	}
	if err := im.prepare(w.meta); err != nil {
		return nil, err
	}
	return w.walk()
}

// prepare reads what all inodes need.
func (im *image) prepare(w *window) error {
	if im.incompat&incompatConfigs != 0 {
		if err := im.readConfigs(w); err != nil {
			return err
		}
	}
	if im.incompat&incompatFragments != 0 && im.superblock.packed != 0 {
		in, _, err := im.inode(w, im.superblock.packed)
		if err != nil {
			return fmt.Errorf("reading the packed inode: %w", err)
		}
		im.packed = &packedInode{inode: in}
	}
	if im.incompat&incompatPrefixes != 0 {
		if err := im.readPrefixes(); err != nil {
			return fmt.Errorf("reading the prefixes of attributes: %w", err)
		}
	}
	return nil
}

// readConfigs reads the settings of the algorithms, of which only the size of
// LZMA's dictionary matters.
func (im *image) readConfigs(w *window) error {
	pos := int64(superOffset + superSize + 16*im.slots)
	for a := range 16 {
		if im.algorithms&(1<<a) == 0 {
			continue
		}
		pos = (pos + 3) &^ 3
		b, err := w.bytes(pos, 2)
		if err != nil {
			return err
		}
		n := int64(binary.LittleEndian.Uint16(b))
		if a == algorithmLZMA {
			if b, err = w.bytes(pos+2, 4); err != nil {
				return err
			}
			im.dictionary = binary.LittleEndian.Uint32(b)
		}
		pos += 2 + n
	}
	return nil
}

// window reads small parts of an image that lie close to each other. Each
// goroutine has its own.
type window struct {
	im  *image
	off int64
	buf []byte
}

// windowSize is how much a window reads at a time.
const windowSize = 32 << 10

func (im *image) window() *window { return &window{im: im} }

// bytes returns n bytes of the image, which are good until the next call.
func (w *window) bytes(off int64, n int) ([]byte, error) {
	if off < 0 || off > w.im.size || int64(n) > w.im.size-off {
		return nil, corrupt("%d bytes at %d lie outside of it", n, off)
	}
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		size := min(max(int64(n), windowSize), w.im.size-off)
		if int64(cap(w.buf)) < size {
			w.buf = make([]byte, size)
		}
		w.buf, w.off = w.buf[:size], off
		if m, err := w.im.r.ReadAt(w.buf, off); int64(m) < size {
			w.buf = w.buf[:0]
			return nil, fmt.Errorf("reading the image: %w", err)
		}
	}
	return w.buf[off-w.off:][:n], nil
}

// walker turns folders into a tree.
type walker struct {
	ctx  context.Context
	im   *image
	meta *window
	tree content.Tree
	// pending are the entries that come next, the first one last.
	pending []pending
	// seen counts names, room the bytes that the tree may still take.
	seen int
	room int64
	// dirs are the folders that were seen, names the first paths of other
	// inodes with several.
	dirs  map[uint64]bool
	names map[uint64]string
}

// pending is a name that was read from a folder.
type pending struct {
	path string
	nid  uint64
}

// entrySize is about what an entry takes, beside the text in it.
const entrySize = 320

// spend counts what the tree takes.
func (w *walker) spend(n int64) error {
	w.room -= n
	if w.room < 0 {
		return corrupt("its tree is too large for its size")
	}
	return nil
}

// walk goes through all folders, in the order of a tree.
func (w *walker) walk() (content.Tree, error) {
	w.pending = []pending{{"", w.im.root}}
	for len(w.pending) > 0 {
		p := w.pending[len(w.pending)-1]
		w.pending = w.pending[:len(w.pending)-1]
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		if err := w.visit(p); err != nil {
			return nil, fmt.Errorf("/%s: %w", p.path, err)
		}
	}
	return w.tree, w.tree.Check()
}

// visit adds an entry to the tree and what is in it, if it is a folder, to the
// pending ones.
func (w *walker) visit(p pending) error {
	in, e, err := w.im.inode(w.meta, p.nid)
	if err != nil {
		return err
	}
	e.Path = p.path
	if err := w.spend(entrySize); err != nil {
		return err
	}
	if e.Xattrs, err = w.im.xattrs(w.meta, in, w.spend); err != nil {
		return err
	}
	switch e.Type() {
	case unix.S_IFREG:
		e.Size, e.Open = in.size, in.open
	case unix.S_IFLNK:
		if e.Target, err = in.target(); err != nil {
			return err
		}
		err = w.spend(in.size)
	case unix.S_IFDIR:
		if w.dirs[p.nid] {
			return corrupt("the folder has a second name")
		}
		w.dirs[p.nid] = true
		err = w.list(p.path, in)
	}
	if err != nil {
		return err
	}
	if in.links > 1 && !e.IsDir() {
		if first, ok := w.names[p.nid]; ok {
			e.HardLink, e.Link = true, first
		} else {
			w.names[p.nid] = p.path
		}
	}
	w.tree = append(w.tree, e)
	return nil
}

// list adds the names in a folder to the pending ones, the last one first.
func (w *walker) list(path string, in *inode) (err error) {
	r, err := in.open()
	if err != nil {
		return err
	}
	defer r.Close()
	if path != "" {
		path += "/"
	}
	start := len(w.pending)
	block := make([]byte, w.im.blockSize())
	for left := in.size; left > 0; left -= int64(len(block)) {
		block = block[:min(left, int64(len(block)))]
		if _, err := io.ReadFull(r, block); err != nil {
			return err
		}
		err := eachName(block, func(name []byte, nid uint64) error {
			if w.seen++; w.seen > content.MaxEntries {
				return fmt.Errorf("there are more than %d names in the file system", content.MaxEntries)
			}
			if string(name) == "." || string(name) == ".." {
				return nil
			}
			if len(path)+len(name) > maxPath {
				return fmt.Errorf("a path in it is longer than %d bytes", maxPath)
			}
			w.pending = append(w.pending, pending{path + string(name), nid})
			return w.spend(int64(len(path) + len(name)))
		})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(w.pending[start:], func(a, b pending) int { return strings.Compare(b.path, a.path) })
	return nil
}

// eachName calls yield with each name in a block of a folder.
func eachName(block []byte, yield func(name []byte, nid uint64) error) error {
	le := binary.LittleEndian
	if len(block) < direntSize {
		return corrupt("a folder of %d bytes", len(block))
	}
	first := int(le.Uint16(block[8:]))
	if first < direntSize || first%direntSize != 0 || first >= len(block) {
		return corrupt("a folder's names begin at %d", first)
	}
	for at := 0; at < first; at += direntSize {
		begin, end := int(le.Uint16(block[at+8:])), len(block)
		if at+direntSize < first {
			end = int(le.Uint16(block[at+direntSize+8:]))
		}
		if begin < first || begin >= end || end > len(block) {
			return corrupt("a name from %d to %d in a folder", begin, end)
		}
		name := block[begin:end]
		if at+direntSize == first {
			// The last name ends at a zero byte or with the block.
			name = []byte(strings.TrimRight(string(name), "\x00"))
		}
		if err := yield(name, le.Uint64(block[at:])); err != nil {
			return err
		}
	}
	return nil
}
