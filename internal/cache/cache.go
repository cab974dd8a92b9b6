// Package cache keeps the results of build steps in a directory and finds them again by all that went into them.
//
// A [Store] has entries: directories whose name is a digest of their [Inputs]. An entry is made in a private directory
// and appears with one rename, complete. While it is in use, as the lower layer of an overlay for instance, it is
// locked, and nobody removes it. Locks are flock(2)s of directories, so what a killed program leaves is told from what
// a living one makes, and is removed by the next that uses the store.
//
//	DIR/NAME.cache/0123456789abcdef/          an entry, mode 0700
//	DIR/NAME.cache/0123456789abcdef/entry.json  what it is; the rest is its maker's
//	DIR/NAME.cache/0123456789abcdef/inputs.json what it was made from
//	DIR/NAME.cache/.mkosi-123/                an entry in the making, see [tree.StageAs]
//	DIR/.digests                              the digests of files, see [Memo]
package cache

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// Store is a directory of cached results. Several programs may use one at once. Its methods may be called from several
// goroutines.
type Store struct {
	// Dir is the directory, CacheDirectory=. It is made when it is needed.
	Dir string
	// MaxUse is how many bytes the entries may take up; those that were used least recently go first. With 0 there is
	// no limit, and instead only one entry of each name is kept.
	MaxUse int64
	// Waiting, if set, is called when another build is making the entry that Begin is asked for.
	Waiting func(name string)
	// Removed, if set, is called for every entry that is removed to make room. err is why it could not be, or nil.
	Removed func(name string, err error)
}

// Miss says why there is no entry for some inputs.
type Miss struct {
	// Reason is a clause: "nothing is cached yet", "Packages= gained vim".
	Reason string
}

// Memo opens the store's memo of file digests. The caller saves it.
func (s *Store) Memo() *Memo { return OpenMemo(s.memoPath()) }

func (s *Store) memoPath() string { return filepath.Join(s.Dir, ".digests") }

const (
	// cacheSuffix ends the names of the directories in a store that hold entries.
	cacheSuffix = ".cache"
	// keyLength is how many digits of the key name an entry. All of it is in the entry.
	keyLength = 16
)

// escape makes any text a file name.
var escape = strings.NewReplacer("%", "%25", "/", "%2F")

// dirOf returns the directory of the entries that are called name.
func (s *Store) dirOf(name string) string {
	return filepath.Join(s.Dir, escape.Replace(name)+cacheSuffix)
}

// pathOf returns the path of an entry.
func (s *Store) pathOf(name, key string) string {
	return filepath.Join(s.dirOf(name), key[:keyLength])
}

// Lookup returns the entry called name that was made from the inputs, or says why there is none. The entry is in use,
// and counts as used now, until the caller closes it. What killed programs left of this name is removed.
func (s *Store) Lookup(ctx context.Context, name string, in Inputs) (*Entry, *Miss, error) {
	if err := checkDir(s.dirOf(name)); err != nil {
		return nil, nil, err
	}
	if err := tree.CleanStaging(ctx, s.dirOf(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	e, err := openEntry(ctx, s.pathOf(name, in.Key()), in.Key())
	if err == nil {
		e.touch()
		return e, nil, nil
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return nil, s.explain(ctx, name, in, err), nil
}

// Find is Lookup for who only wants to know: it returns nil if there is an entry. It changes nothing.
func (s *Store) Find(ctx context.Context, name string, in Inputs) (*Miss, error) {
	if err := checkDir(s.dirOf(name)); err != nil {
		return nil, err
	}
	e, err := openEntry(ctx, s.pathOf(name, in.Key()), in.Key())
	if err == nil {
		return nil, e.Close()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return s.explain(ctx, name, in, err), nil
}

// explain says why the entry for some inputs could not be opened: it is not there, or err.
func (s *Store) explain(ctx context.Context, name string, in Inputs, err error) *Miss {
	if !errors.Is(err, fs.ErrNotExist) {
		return &Miss{fmt.Sprintf("what is cached cannot be used: %v", err)}
	}
	last := newest(entriesIn(ctx, s.dirOf(name)))
	if last == nil {
		return &Miss{"nothing is cached yet"}
	}
	before, err := readInputs(last.path)
	if err != nil {
		return &Miss{fmt.Sprintf("what is cached has no readable inputs: %v", err)}
	}
	if d := FirstDifference(before, in); d != "" {
		return &Miss{d}
	}
	return &Miss{"it was cached by another version of mkosi"}
}

// Begin begins the making of the entry called name for the inputs. It returns either where to make it, which the caller
// closes whether or not it commits, or, when another build has made the entry meanwhile, that entry as Lookup does. As
// long as another build is at it, Begin waits.
func (s *Store) Begin(ctx context.Context, name string, in Inputs) (*Pending, *Entry, error) {
	staging, err := s.stage(ctx, name, in.Key())
	if err != nil {
		return nil, nil, fmt.Errorf("beginning a cached image: %w", err)
	}
	p := &Pending{store: s, name: name, key: in.Key(), inputs: in, staging: staging}
	e, err := openEntry(ctx, s.pathOf(name, p.key), p.key)
	if err == nil {
		e.touch()
		return nil, e, p.Close()
	}
	if ctx.Err() != nil {
		return nil, nil, errors.Join(context.Cause(ctx), p.Close())
	}
	if err := p.prepare(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("beginning a cached image: %w", err), p.Close())
	}
	return p, nil, nil
}

// stage makes the staging directory for an entry, which one build at a time has.
func (s *Store) stage(ctx context.Context, name, key string) (*tree.Staging, error) {
	dir := s.dirOf(name)
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	waiting := func() {
		if s.Waiting != nil {
			s.Waiting(name)
		}
	}
	raw, err := hex.DecodeString(key[:keyLength])
	if err != nil {
		return nil, err
	}
	for {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, fmt.Errorf("creating the cache directory: %w", err)
		}
		staging, err := tree.StageAs(ctx, dir, binary.BigEndian.Uint64(raw), waiting)
		if errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			continue // Remove has taken the empty directory
		}
		return staging, err
	}
}

// checkDir refuses to go through a link, which somebody else may have placed in a shared cache directory.
func checkDir(dir string) error {
	fi, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the cache directory: %w", err)
	}
	if !fi.IsDir() {
		return fmt.Errorf("reading the cache directory: %s is not a directory", dir)
	}
	return nil
}
