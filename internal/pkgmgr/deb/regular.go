package deb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxFile is how many bytes of a file of a tree are read into memory at most.
const maxFile = 256 << 20

// OpenRegular opens a regular file of a tree, with the flags and permissions
// of [os.OpenFile]. Symbolic links are followed inside the tree only. Pipes
// and devices, which would make the caller wait, are refused. The flag
// O_TRUNC is not for it: a file is truncated only when it is known to be one.
func OpenRegular(root *os.Root, name string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := root.OpenFile(name, flag|unix.O_NONBLOCK, perm)
	if errors.Is(err, unix.ENXIO) { // a pipe without a reader, or a socket
		return nil, fmt.Errorf("%s of the image is not a regular file", name)
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s of the image is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadRegular reads a whole file of a tree, of at most 256 MiB, opened as by
// [OpenRegular].
func ReadRegular(root *os.Root, name string) ([]byte, error) {
	f, err := OpenRegular(root, name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s of the image is larger than %d bytes", name, maxFile)
	}
	return b, nil
}

// WriteRegular replaces the content of a file of a tree, opened as by
// [OpenRegular], or creates it with the given permissions.
func WriteRegular(root *os.Root, name string, data []byte, perm fs.FileMode) error {
	f, err := OpenRegular(root, name, os.O_WRONLY|os.O_CREATE, perm)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.Write(data)
	}
	return errors.Join(err, f.Close())
}
