package firmware

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// systemDirs are where a system keeps descriptors, those that mask the others first.
var systemDirs = []string{"/etc/qemu/firmware", "/usr/share/qemu/firmware"}

// Problem is a descriptor that could not be used.
type Problem struct {
	Path string
	Err  error
}

// Find reads the descriptors of the system at root, "/" for this one, and of the directory user, unless that is "", in
// the order of preference: by file name. A file masks those of the same name further down, in the order of user, /etc
// and /usr/share; an empty one does nothing else. What cannot be used is listed as a problem and left out, and masks all
// the same.
func Find(root, user string) (list []*Descriptor, problems []Problem, err error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("looking for firmware: %w", &os.PathError{Op: "open", Path: root, Err: err})
	}
	defer unix.Close(fd)
	found := map[string]source{}
	if user != "" {
		err = add(found, user, func(name string) (*os.File, error) { return os.Open(filepath.Join(user, name)) })
	}
	for _, dir := range systemDirs {
		err = errors.Join(err, add(found, dir, func(name string) (*os.File, error) {
			f, err := tree.OpenIn(fd, filepath.Join(dir, name), unix.O_RDONLY|unix.O_NONBLOCK)
			if err != nil {
				return nil, &os.PathError{Op: "open", Path: filepath.Join(root, dir, name), Err: err}
			}
			return os.NewFile(uintptr(f), name), nil
		}))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("looking for firmware: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		s := found[name]
		d, err := s.read(name)
		switch {
		case err != nil:
			problems = append(problems, Problem{filepath.Join(s.dir, name), err})
		case d != nil:
			list = append(list, d)
		}
	}
	return list, problems, nil
}

// source is where a descriptor is.
type source struct {
	dir  string
	open func(name string) (*os.File, error)
}

// add adds the descriptors of a directory that are not masked. open opens the directory itself as ".".
func add(found map[string]source, dir string, open func(name string) (*os.File, error)) error {
	f, err := open(".")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, name := range names {
		if _, masked := found[name]; !masked && strings.HasSuffix(name, ".json") {
			found[name] = source{dir, open}
		}
	}
	return nil
}

// read reads a descriptor; it is nil for a file that only masks.
func (s source) read(name string) (*Descriptor, error) {
	f, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("it is no regular file"))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxDescriptor+1))
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return Parse(name, data)
}
