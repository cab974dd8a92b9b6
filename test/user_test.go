//go:build integration

package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// ordinaryUser is a user that exists nowhere: no name, no home, no subordinate IDs.
const ordinaryUser = 54321

// giveAway makes everything below a directory the ordinary user's.
func giveAway(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, ordinaryUser, ordinaryUser)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An ordinary user builds the tutorial as well, with the same result but for owners.
func TestTutorialAsOrdinaryUser(t *testing.T) {
	asRoot := tutorialDir(t)
	home, err := os.MkdirTemp(sharedDir, "user-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	dir := filepath.Join(home, "tutorial")
	if err := prepareTutorial(dir); err != nil {
		t.Fatal(err)
	}
	packages := filepath.Join(home, "packages")
	if err := os.CopyFS(packages, os.DirFS(filepath.Join(sharedDir, "packages"))); err != nil {
		t.Fatal(err)
	}
	giveAway(t, home)
	nothingLeft := leavesNothing(t)
	for _, args := range [][]string{{"--force"}, {"--profile", "initrd"}} {
		cmd := mkosi(dir, append(args, "--source-date-epoch", testEpoch, "--package-cache-directory", packages)...)
		cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + home}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser}}
		must(t, cmd)
	}
	nothingLeft()

	for _, name := range []string{"btrfs.raw", "initrd.cpio.zst", "image.raw"} {
		if _, err := os.Stat(filepath.Join(dir, "mkosi.output", name)); err != nil {
			t.Error(err)
		}
	}
	diffs, err := tree.Compare(t.Context(), filepath.Join(asRoot, "mkosi.output/base"), filepath.Join(dir, "mkosi.output/base"),
		tree.CompareOptions{IgnoreOwners: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diffs {
		if d.Path == "var/log/journal" && d.What == "xattr" {
			// Its access list names a group, and here there is but one user.
			continue
		}
		t.Errorf("%s: %s: %s as root, %s as an ordinary user", d.Path, d.What, d.A, d.B)
	}
	list := func(of string) string {
		image := filepath.Join(of, "mkosi.output/btrfs.raw")
		return strings.Join(listing(t, mountPartition(t, image, partitions(t, image)[0].Start*sector)), "\n")
	}
	if diff := cmp.Diff(list(asRoot), list(dir)); diff != "" {
		t.Errorf("root's extension (-) and the ordinary user's (+) differ:\n%s", diff)
	}
}
