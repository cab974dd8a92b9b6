package cache

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// Entry is a cached result in use. Nobody removes it until it is closed, or this program ends. What is in it must not
// be changed.
type Entry struct {
	// Key is the key of the inputs that it was made from.
	Key string
	// ID tells this entry from others that were made from the same inputs before or after it: what is laid over one of
	// them does not fit another. It is a short random text.
	ID   string
	path string
	lock *os.File // the directory itself, shared
}

// entryInfo is what an entry says of itself, in entry.json.
type entryInfo struct {
	Format int    `json:"format"`
	Key    string `json:"key"`
	ID     string `json:"id"`
	Size   int64  `json:"size"` // bytes on disk, without the two JSON files
}

const (
	infoName   = "entry.json"
	inputsName = "inputs.json"
	// maxInfo and maxInputs bound what is read of these files, in bytes.
	maxInfo   = 4 << 10
	maxInputs = 64 << 20
)

// errRemoving is the error of opening an entry that another program is removing.
var errRemoving = errors.New("it is being removed")

// Path returns the path of name in the entry.
func (e *Entry) Path(name string) string { return filepath.Join(e.path, name) }

// Close ends the use of the entry. Closing twice is no error.
func (e *Entry) Close() error {
	if e.lock == nil {
		return nil
	}
	err := e.lock.Close()
	e.lock = nil
	return err
}

// touch notes that the entry is used now. Where that cannot be noted it may be removed earlier than others.
func (e *Entry) touch() {
	at := time.Now()
	_ = os.Chtimes(e.path, at, at)
}

// openEntry opens the entry at path, which must have the key.
func openEntry(ctx context.Context, path, key string) (*Entry, error) {
	lock, err := openShared(ctx, path)
	if err != nil {
		return nil, err
	}
	info, err := readInfo(lock)
	if err == nil && info.Key != key {
		err = errors.New("it is of other inputs")
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Entry{Key: key, ID: info.ID, path: path, lock: lock}, nil
}

// openShared opens the directory of an entry and locks it against removal. While somebody who removes it, or looks
// whether it can be removed, has it locked, it waits.
func openShared(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := lockEntry(path, unix.LOCK_SH)
		if !errors.Is(err, errRemoving) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// lockEntry opens the directory path and locks it as how says, for as long as it is open. The error is errRemoving if
// somebody else has a lock that does not go with it, or moved the directory away in that moment.
func lockEntry(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	err = flock(f, how|unix.LOCK_NB)
	if err == nil {
		err = stillAt(f, path)
	} else if errors.Is(err, unix.EWOULDBLOCK) {
		err = errRemoving
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// stillAt returns errRemoving unless the open directory is the one at path.
func stillAt(f *os.File, path string) error {
	a, err := f.Stat()
	if err != nil {
		return err
	}
	if b, err := os.Lstat(path); err != nil || !os.SameFile(a, b) {
		return errRemoving
	}
	return nil
}

// readInfo reads what the entry whose directory is open says of itself. The directory must be one that this program's
// user made and that nobody else can write to: what is in it becomes part of images. Another user's files would have
// other owners besides.
func readInfo(dir *os.File) (*entryInfo, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, err
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return nil, errors.New("it belongs to another user, or others may write to it")
	}
	data, err := readOwn(int(dir.Fd()), infoName, maxInfo)
	if err != nil {
		return nil, err
	}
	info := &entryInfo{}
	if err := json.Unmarshal(data, info); err != nil {
		return nil, fmt.Errorf("%s: %w", infoName, err)
	}
	if info.Format != Format || info.Size < 0 {
		return nil, fmt.Errorf("%s: unknown format", infoName)
	}
	return info, nil
}

// readInputs reads the inputs of the entry at path.
func readInputs(path string) (Inputs, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	data, err := readOwn(fd, inputsName, maxInputs)
	if err != nil {
		return nil, err
	}
	var in Inputs
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("%s: %w", inputsName, err)
	}
	return in, nil
}

// Pending is an entry in the making. Nobody else sees it before Commit.
type Pending struct {
	store   *Store
	name    string
	key     string
	inputs  Inputs
	staging *tree.Staging
}

// Path returns the path of name in the directory that becomes the entry. The names "entry.json" and "inputs.json" are
// the store's.
func (p *Pending) Path(name string) string { return p.staging.Path(filepath.Join("entry", name)) }

// Scratch returns the path of name in a directory on the same file system that is thrown away by Close, such as for an
// overlay's work directory.
func (p *Pending) Scratch(name string) string { return p.staging.Path(filepath.Join("scratch", name)) }

// Close throws away what was not committed. Closing twice is no error.
func (p *Pending) Close() error { return p.staging.Close() }

// prepare makes the directories, and room for the entry: whatever is in its place cannot be used.
func (p *Pending) prepare() error {
	target := p.store.pathOf(p.name, p.key)
	if err := os.Rename(target, p.staging.Path("unusable")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, dir := range []string{p.Path("."), p.Scratch(".")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// Commit makes what is in the directory the entry, and returns it in use. All that was written is on the disk before it
// can be seen, so that not even a power cut leaves an entry with empty files. Then the entries that the store has no
// more room for are removed. Nothing may be written to the directory any more, and no overlay have it as its upper
// layer. The caller closes the entry, and p as well.
func (p *Pending) Commit(ctx context.Context) (*Entry, error) {
	e, err := p.commit(ctx)
	if err != nil {
		return nil, fmt.Errorf("caching an image: %w", err)
	}
	if err := p.store.makeRoom(ctx, p.name); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (p *Pending) commit(ctx context.Context) (*Entry, error) {
	size, err := tree.Size(ctx, p.Path("."))
	if err != nil {
		return nil, err
	}
	info := entryInfo{Format: Format, Key: p.key, ID: rand.Text(), Size: size}
	if err := writeJSON(p.Path(infoName), info); err != nil {
		return nil, err
	}
	if err := writeJSON(p.Path(inputsName), p.inputs); err != nil {
		return nil, err
	}
	// In use before anybody can see it.
	lock, err := lockEntry(p.Path("."), unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	e := &Entry{Key: p.key, ID: info.ID, path: p.store.pathOf(p.name, p.key), lock: lock}
	if err := p.publish(ctx, lock); err != nil {
		lock.Close()
		return nil, err
	}
	e.touch()
	return e, nil
}

// publish writes everything to the disk and renames the directory into place. One call for the whole file system is
// several times faster than one for every file. The rename itself may be lost in a power cut, and with it the entry.
func (p *Pending) publish(ctx context.Context, dir *os.File) error {
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("writing %s to the disk: %w", dir.Name(), err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return os.Rename(p.Path("."), p.store.pathOf(p.name, p.key))
}

func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o600)
}
