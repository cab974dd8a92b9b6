package bootloader

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const theUKI = "the unified kernel image"

// InstallUKI makes a unified kernel image, a file outside of the tree, the program that the firmware starts, or shim.
func InstallUKI(ctx context.Context, o Options, uki string) error {
	i, err := o.open()
	if err != nil {
		return err
	}
	defer i.close()
	return i.copyOutside(ctx, theUKI, uki, o.firstProgram(), 0o755)
}

// CopyUKI puts a unified kernel image, a file outside of the tree at root, into that under a name such as
// "boot/EFI/Linux/debian.efi".
func CopyUKI(ctx context.Context, root, uki, name string) error {
	i, err := openImage(root)
	if err != nil {
		return err
	}
	defer i.close()
	return i.copyOutside(ctx, theUKI, uki, name, 0o644)
}

// copyOutside copies a regular file that does not lie in the tree into it. what is the file, in words.
func (i *image) copyOutside(ctx context.Context, what, from, to string, mode uint32) error {
	f, fi, err := openOutside(from)
	if err != nil {
		return fmt.Errorf("opening %s: %w", what, err)
	}
	defer f.Close()
	return i.copyFile(ctx, f, fi, to, mode)
}

// openOutside opens a regular file that does not lie in a tree.
func openOutside(name string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, fi, nil
}
