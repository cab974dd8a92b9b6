package output

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/resources"
)

// definitionFiles returns the repart.d(5) files of a disk: those of RepartDirectories=, else the built-in ones.
func definitionFiles(img *config.Image) (fs.FS, error) {
	if len(img.RepartDirectories) > 0 {
		return directories(img.RepartDirectories), nil
	}
	names := []string{"disk"}
	if img.Bootable == config.Enabled {
		if img.BiosBootloader == config.BiosBootloaderGrub {
			names = append(names, "bios") // with an ESP of its own
		}
		names = append(names, "esp")
	}
	var files layers
	for _, name := range names {
		fsys, err := resources.Repart(name)
		if err != nil {
			return nil, err
		}
		files = append(files, fsys)
	}
	return files, nil
}

// Definitions returns the partition definitions of an image; none if its format has none, or takes them from its content.
// What they refer to of the image's os-release(5) is not known.
func Definitions(img *config.Image) ([]repart.Definition, error) {
	if !hasDefinitions(img) {
		return nil, nil
	}
	p := &imagePlan{}
	if err := p.find(img); err != nil {
		return nil, err
	}
	return p.read(img, nil)
}

// explicitDirectories returns RepartDirectories= without mkosi.repart/, which sets it by being there, and whether that
// was among them.
func explicitDirectories(img *config.Image) (dirs []string, found bool) {
	dirs = slices.Clone(img.RepartDirectories)
	for _, o := range img.Origin("RepartDirectories") {
		if i := slices.Index(dirs, o.File); o.Kind == config.FromDefaultFile && i >= 0 {
			dirs, found = slices.Delete(dirs, i, i+1), true
		}
	}
	return dirs, found
}

// layers are several directories as one. Of files with the same path that of the first counts, which is how
// systemd-repart(8) takes several directories.
type layers []fs.FS

func directories(paths []string) layers {
	var l layers
	for _, p := range paths {
		l = append(l, os.DirFS(p))
	}
	return l
}

// Open opens a file of the first directory that has it, or a directory with what is in it anywhere.
func (l layers) Open(name string) (fs.File, error) {
	for _, fsys := range l {
		f, err := fsys.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if fi, err := f.Stat(); err != nil || !fi.IsDir() {
			return f, err
		}
		entries, err := l.ReadDir(name)
		return &openDir{f, entries}, err
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// openDir is an open directory of layers; rest are the entries that were not read yet.
type openDir struct {
	fs.File
	rest []fs.DirEntry
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.rest)
	} else if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	entries := d.rest[:n]
	d.rest = d.rest[n:]
	return entries, nil
}

// ReadDir lists what any of the directories has, sorted.
func (l layers) ReadDir(name string) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	found := false
	for _, fsys := range l {
		entries, err := fs.ReadDir(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = true
		for _, e := range entries {
			same := func(other fs.DirEntry) bool { return other.Name() == e.Name() }
			if !slices.ContainsFunc(all, same) {
				all = append(all, e)
			}
		}
	}
	if !found {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}
