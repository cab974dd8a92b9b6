package bootloader

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// InstallUKI makes a unified kernel image, a file outside of the tree, the program that the firmware starts, or shim.
func InstallUKI(ctx context.Context, o Options, uki string) error {
	i, err := o.open()
	if err != nil {
		return err
	}
	defer i.close()
	f, fi, err := openOutside(uki)
	if err != nil {
		return fmt.Errorf("opening the unified kernel image: %w", err)
	}
	defer f.Close()
	return i.copyFile(ctx, f, fi, o.firstProgram(), 0o755)
}

// CopyUKI puts a unified kernel image, a file outside of the tree at root, into that under a name such as
// "boot/EFI/Linux/debian.efi".
func CopyUKI(ctx context.Context, root, uki, name string) error {
	i, err := openImage(root)
	if err != nil {
		return err
	}
	defer i.close()
	f, fi, err := openOutside(uki)
	if err != nil {
		return fmt.Errorf("opening the unified kernel image: %w", err)
	}
	defer f.Close()
	return i.copyFile(ctx, f, fi, name, 0o644)
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
