package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// ErrInUse is in the error of Remove and RemoveAll when another build uses what was to be removed.
var ErrInUse = errors.New("another build is using it")

// stored is an entry of this program's user as it is found in the store, not in use.
type stored struct {
	name string // as the name of its directory, escaped
	path string
	used time.Time
	size int64
	// broken is an entry that no Lookup finds: damaged, or of another version of the program.
	broken bool
}

// newest returns the entry that was used last, or nil.
func newest(list []stored) *stored {
	var last *stored
	for i, e := range list {
		if !e.broken && (last == nil || e.used.After(last.used)) {
			last = &list[i]
		}
	}
	return last
}

// entriesIn lists the entries in a directory of the store.
func entriesIn(ctx context.Context, dir string) []stored {
	var list []stored
	for _, path := range keyDirs(dir) {
		if ctx.Err() != nil {
			break
		}
		if e, ok := statEntry(path); ok {
			list = append(list, e)
		}
	}
	return list
}

// statEntry reads what there is to know of an entry. It is not ok if it is not this program's user's.
func statEntry(path string) (e stored, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return e, false
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || int(st.Uid) != os.Geteuid() {
		return e, false
	}
	name := strings.TrimSuffix(filepath.Base(filepath.Dir(path)), cacheSuffix)
	e = stored{name: name, path: path, used: time.Unix(st.Mtim.Unix()), broken: true}
	if info, err := readInfo(f); err == nil {
		e.size, e.broken = info.Size, false
	}
	return e, true
}

// keyDirs lists what is named as an entry in a directory.
func keyDirs(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		if e.IsDir() && len(e.Name()) == keyLength && strings.Trim(e.Name(), "0123456789abcdef") == "" {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// dirs lists the directories of the store that may hold entries.
func (s *Store) dirs() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the cache directory: %w", err)
	}
	var list []string
	for _, e := range entries {
		if e.IsDir() && strings.HasSuffix(e.Name(), cacheSuffix) {
			list = append(list, filepath.Join(s.Dir, e.Name()))
		}
	}
	return list, nil
}

// Trim removes what killed programs left in the store, and, with MaxUse set, the entries that there is no room for. Those
// in use stay.
func (s *Store) Trim(ctx context.Context) error {
	dirs, err := s.dirs()
	if err != nil {
		return err
	}
	for _, dir := range append(dirs, s.Dir) {
		if err := tree.CleanStaging(ctx, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if s.MaxUse <= 0 {
		return nil
	}
	return s.shrink(ctx, dirs)
}

// shrink removes the entries that were used least recently until the others have room.
func (s *Store) shrink(ctx context.Context, dirs []string) error {
	var list []stored
	var sum int64
	for _, dir := range dirs {
		list = append(list, entriesIn(ctx, dir)...)
	}
	for _, e := range list {
		sum += e.size
	}
	slices.SortFunc(list, func(a, b stored) int { return a.used.Compare(b.used) })
	for _, e := range list {
		if sum <= s.MaxUse && !e.broken {
			continue
		}
		removed, err := s.evict(ctx, e)
		if err != nil {
			return err
		}
		if removed {
			sum -= e.size
		}
	}
	return nil
}

// makeRoom removes entries after a new one called name was made: by the store's limit, or else the others of that name.
func (s *Store) makeRoom(ctx context.Context, name string) error {
	if s.MaxUse > 0 {
		return s.Trim(ctx)
	}
	for _, e := range entriesIn(ctx, s.dirOf(name)) {
		if _, err := s.evict(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// evict removes an entry and reports whether it did: one that is in use stays, and what cannot be removed is told and
// left. The error is the context's.
func (s *Store) evict(ctx context.Context, e stored) (bool, error) {
	err := removeEntry(ctx, e.path)
	if errors.Is(err, ErrInUse) {
		return false, nil
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if s.Removed != nil {
		s.Removed(e.name, err)
	}
	return err == nil, nil
}

// removeEntry removes the entry at path, unless it is in use. It disappears at once, and is then removed in a staging
// directory, so that nobody sees half of it.
func removeEntry(ctx context.Context, path string) error {
	lock, err := lockEntry(path, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, errRemoving) {
		return fmt.Errorf("removing %s: %w", path, ErrInUse)
	}
	if err != nil {
		return fmt.Errorf("removing a cached image: %w", err)
	}
	defer lock.Close()
	staging, err := tree.Stage(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	err = os.Rename(path, staging.Path("removed"))
	return errors.Join(err, staging.Close())
}

// Remove removes all entries called name, and what killed programs left of them. The error is [ErrInUse] if another
// build uses or makes one: the others are removed all the same.
func (s *Store) Remove(ctx context.Context, name string) error {
	if err := checkDir(s.dirOf(name)); err != nil {
		return err
	}
	if err := removeIn(ctx, s.dirOf(name)); err != nil {
		return err
	}
	return s.forget(ctx)
}

// RemoveAll removes all entries of the store, as Remove does.
func (s *Store) RemoveAll(ctx context.Context) error {
	dirs, err := s.dirs()
	if err != nil {
		return err
	}
	var problems []error
	for _, dir := range dirs {
		if err := removeIn(ctx, dir); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	return s.forget(ctx)
}

// removeIn removes the entries in dir, and dir if nothing else is in it.
func removeIn(ctx context.Context, dir string) error {
	if err := tree.CleanStaging(ctx, dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	var problems []error
	for _, path := range keyDirs(dir) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := removeEntry(ctx, path); err != nil {
			problems = append(problems, err)
		}
	}
	_ = os.Remove(dir) // others' files stay, and with them dir
	return errors.Join(problems...)
}

// forget removes the memo, and what was left of writing it, when the store has no entries any more.
func (s *Store) forget(ctx context.Context) error {
	if err := tree.CleanStaging(ctx, s.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dirs, err := s.dirs()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if len(keyDirs(dir)) > 0 {
			return nil
		}
	}
	if err := os.Remove(s.memoPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the digests of files: %w", err)
	}
	return nil
}

// Size returns how many bytes the entries of the store take up.
func (s *Store) Size(ctx context.Context) (int64, error) {
	dirs, err := s.dirs()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, dir := range dirs {
		for _, e := range entriesIn(ctx, dir) {
			sum += e.size
		}
	}
	return sum, ctx.Err()
}
