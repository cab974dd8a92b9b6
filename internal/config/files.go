package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mkosi-go/mkosi/resources/builtin"
)

// builtinRoot is what the path of a file within the program starts with. No
// path in the file system does: those are absolute.
const builtinRoot = "builtin:"

// Files of the configuration lie in the file system or in the program. These
// functions read either.

// BuiltinName returns the name that a file within the program has in
// [builtin.FS], and whether p is the path of one.
func BuiltinName(p string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(p, builtinRoot)
	return path.Clean(rest), ok
}

// isBuiltIn reports whether a path is that of a file within the program.
func isBuiltIn(p string) bool { return strings.HasPrefix(p, builtinRoot) }

// absolute reports whether a path says by itself where its file is.
func absolute(p string) bool { return filepath.IsAbs(p) || isBuiltIn(p) }

func stat(p string) (fs.FileInfo, error) {
	if name, ok := BuiltinName(p); ok {
		return fs.Stat(builtin.FS, name)
	}
	return os.Stat(p)
}

func exists(p string) bool {
	_, err := stat(p)
	return err == nil
}

// isDir reports whether there is a directory of that name.
func isDir(p string) bool {
	info, err := stat(p)
	return err == nil && info.IsDir()
}

// readDir returns the names in a directory in order, none when there is no
// directory.
func readDir(p string) ([]string, error) {
	var entries []fs.DirEntry
	var err error
	if name, ok := BuiltinName(p); ok {
		entries, err = fs.ReadDir(builtin.FS, name)
	} else {
		entries, err = os.ReadDir(p)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// glob returns the files that a pattern matches.
func glob(pattern string) ([]string, error) {
	name, ok := BuiltinName(pattern)
	if !ok {
		return filepath.Glob(pattern)
	}
	found, err := fs.Glob(builtin.FS, name)
	for i := range found {
		found[i] = builtinRoot + found[i]
	}
	return found, err
}

// readFile reads a regular file of at most limit bytes.
func readFile(p string, limit int64) ([]byte, error) {
	var f fs.File
	var err error
	if name, ok := BuiltinName(p); ok {
		f, err = builtin.FS.Open(name)
	} else {
		// A pipe that nobody writes to would be waited for.
		f, err = os.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", p)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", p, limit)
	}
	return data, err
}

// maxLink is the length in bytes of the longest path in a lost link.
const maxLink = 4096

// followLost returns what a path stands for if it is a lost link, with a
// warning, and else the path. That is what git makes of a symbolic link
// where it was told that there are none: a file of one line without an end,
// which holds nothing but the target.
func followLost(path string, warnings *problems) string {
	info, err := stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > maxLink {
		return path
	}
	data, err := readFile(path, maxLink)
	if err != nil || strings.ContainsAny(string(data), "\n\x00=[#") || filepath.IsAbs(string(data)) {
		return path
	}
	target := filepath.Join(filepath.Dir(path), string(data))
	if target == path || !exists(target) {
		return path
	}
	warnings.add(&Error{File: path,
		Msg:  fmt.Sprintf("this is the text of a symbolic link to %s, which is taken instead", data),
		Hint: "check the files out with symbolic links: git config core.symlinks true"})
	return target
}
