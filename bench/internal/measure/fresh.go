package measure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// OnFresh copies an example, with its mkosi.key and mkosi.crt but without what it was built to, to a new ext4 file system
// in dir and runs a command there. It returns what that cost and what it printed. The file system is removed. Creating
// files on one that has just lost thousands of them is several times slower.
func OnFresh(dir, example string, command func(work string) *exec.Cmd) (c Cost, out string, err error) {
	disk, mnt := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		return c, "", err
	}
	for _, argv := range [][]string{
		{"truncate", "--size=8G", disk},
		{"mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", disk},
		{"mount", "-o", "loop", disk, mnt},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return c, "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
	}
	defer func() {
		if out, umountErr := exec.Command("umount", mnt).CombinedOutput(); umountErr != nil {
			err = errors.Join(err, fmt.Errorf("umount: %w: %s", umountErr, out))
		}
		_ = os.Remove(disk)
	}()
	work := filepath.Join(mnt, "project")
	if err := os.CopyFS(work, os.DirFS(example)); err != nil {
		return c, "", err
	}
	_ = os.Chmod(filepath.Join(work, "mkosi.key"), 0o600)
	for _, stale := range []string{"mkosi.output", "mkosi.cache"} {
		if err := os.RemoveAll(filepath.Join(work, stale)); err != nil {
			return c, "", err
		}
	}
	syscall.Sync()
	var text bytes.Buffer
	cmd := command(work)
	cmd.Stdout, cmd.Stderr = &text, &text
	if c, err = Run(cmd); err != nil {
		return c, "", fmt.Errorf("%s: %w:\n%s", cmd.Path, err, text.String())
	}
	return c, text.String(), nil
}
