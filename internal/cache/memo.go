package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// Memo remembers the digests of files that were read before, by what the kernel says of them. A file whose device,
// inode, size and both times are as they were has the content that it had: every write sets the change time, which no
// program can set to a time of its choice. Files that were changed just before they were read are not remembered, as
// they might be changed again within the resolution of the clock that the kernel takes these times from.
//
// The methods of a nil Memo remember nothing. They may be called from several goroutines.
type Memo struct {
	path    string
	settle  time.Duration // how long ago a file must have been changed to be remembered
	mu      sync.Mutex
	known   map[fileID]remembered
	changed bool
}

// fileID is what is compared to tell whether a file has changed. Its fields are of fixed size: it is written as it is.
type fileID struct {
	Dev, Ino, Size      uint64
	MtimeSec, MtimeNsec int64
	CtimeSec, CtimeNsec int64
}

type remembered struct {
	Sum [sha256.Size]byte
	Day int64 // on which it was of use last, counted from the epoch
}

const (
	memoMagic = "mkosi digests 1\n"
	// settled is more than the resolution of the times of any file system.
	settled = 2 * time.Second
	// memoDays is for how long files are remembered that nobody asks for.
	memoDays = 30
	// maxMemo is how many files are remembered at most.
	maxMemo    = 1 << 20
	recordSize = 7*8 + sha256.Size + 8
)

// now is the time by which files count as settled.
func now() time.Time { return time.Now() }

// OpenMemo reads the memo kept in the file path. One that is absent, damaged, or of another user is as good as empty:
// that costs time, no more. Save writes it.
func OpenMemo(path string) *Memo {
	m := &Memo{path: path, settle: settled, known: map[fileID]remembered{}}
	if known, err := readMemo(path); err == nil {
		m.known = known
	}
	return m
}

func readMemo(path string) (map[fileID]remembered, error) {
	data, err := readOwn(unix.AT_FDCWD, path, int64(len(memoMagic)+maxMemo*recordSize+sha256.Size))
	if err != nil {
		return nil, err
	}
	return parseMemo(data)
}

// parseMemo reads what Save wrote: a line that names the format, records, and a digest of all of it.
func parseMemo(data []byte) (map[fileID]remembered, error) {
	records, ok := bytes.CutPrefix(data, []byte(memoMagic))
	if !ok || len(records) < sha256.Size || (len(records)-sha256.Size)%recordSize != 0 {
		return nil, errors.New("not a memo of digests")
	}
	end := len(data) - sha256.Size
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:]) {
		return nil, errors.New("damaged memo of digests")
	}
	records = records[:len(records)-sha256.Size]
	known := make(map[fileID]remembered, len(records)/recordSize)
	for ; len(records) > 0; records = records[recordSize:] {
		id, r := decodeRecord(records)
		known[id] = r
	}
	return known, nil
}

func decodeRecord(b []byte) (id fileID, r remembered) {
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i*8:]) }
	id = fileID{n(0), n(1), n(2), int64(n(3)), int64(n(4)), int64(n(5)), int64(n(6))}
	copy(r.Sum[:], b[7*8:])
	r.Day = int64(binary.LittleEndian.Uint64(b[7*8+sha256.Size:]))
	return id, r
}

func encodeRecord(b []byte, id fileID, r remembered) []byte {
	for _, n := range []uint64{
		id.Dev, id.Ino, id.Size, uint64(id.MtimeSec), uint64(id.MtimeNsec), uint64(id.CtimeSec), uint64(id.CtimeNsec),
	} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = append(b, r.Sum[:]...)
	return binary.LittleEndian.AppendUint64(b, uint64(r.Day))
}

// identity returns what is compared of a file.
func identity(st *unix.Stat_t) fileID {
	return fileID{
		uint64(st.Dev), st.Ino, uint64(st.Size),
		int64(st.Mtim.Sec), int64(st.Mtim.Nsec), int64(st.Ctim.Sec), int64(st.Ctim.Nsec),
	}
}

func today() int64 { return now().Unix() / (24 * 60 * 60) }

// get returns the digest of a file's content if it is known.
func (m *Memo) get(st *unix.Stat_t) (sum [sha256.Size]byte, ok bool) {
	if m == nil {
		return sum, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := identity(st)
	r, ok := m.known[id]
	if day := today(); ok && r.Day != day {
		r.Day, m.changed = day, true
		m.known[id] = r
	}
	return r.Sum, ok
}

// put remembers the digest of a file that was read from the time start on, unless it was changed too shortly before.
func (m *Memo) put(st *unix.Stat_t, sum [sha256.Size]byte, start time.Time) {
	if m == nil {
		return
	}
	limit := start.Add(-m.settle)
	if time.Unix(st.Ctim.Unix()).After(limit) || time.Unix(st.Mtim.Unix()).After(limit) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[identity(st)] = remembered{sum, today()}
	m.changed = true
}

// Save writes the memo to its file, which is replaced in one step, if there is anything new in it. Of two programs that
// save at once the last one's stays. Without the directory that it is to be in nothing is kept.
func (m *Memo) Save(ctx context.Context) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.changed {
		return nil
	}
	if err := m.write(ctx); err != nil {
		return fmt.Errorf("keeping the digests of files: %w", err)
	}
	m.changed = false
	return nil
}

// write writes the file. It is not synced: a damaged one is as good as none.
func (m *Memo) write(ctx context.Context) error {
	data := []byte(memoMagic)
	oldest, room := today()-memoDays, maxMemo
	for id, r := range m.known {
		if r.Day >= oldest && room > 0 {
			data = encodeRecord(data, id, r)
			room--
		}
	}
	sum := sha256.Sum256(data)
	dir := filepath.Dir(m.path)
	staging, err := tree.Stage(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was ever cached here
	}
	if err != nil {
		return err
	}
	fresh := staging.Path("digests")
	err = os.WriteFile(fresh, append(data, sum[:]...), 0o600)
	if err == nil {
		err = os.Rename(fresh, m.path)
	}
	return errors.Join(err, staging.Close())
}

// readOwn reads a regular file of this process's user, of at most limit bytes. It follows no link and waits for no
// pipe: whoever can write to the cache directory may have put anything there.
func readOwn(dir int, name string, limit int64) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("%s is not a regular file", name)
	case int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to another user", name)
	case st.Size > limit:
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	data := make([]byte, st.Size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return data, nil
}
