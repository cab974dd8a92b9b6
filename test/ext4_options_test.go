//go:build integration

package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/ext4"
	"github.com/mkosi-go/mkosi/internal/disk/program"
)

// ext4Image makes an image with one ext4 in it that the host's mke2fs begins,
// has e2fsck judge it and returns where it is mounted.
func ext4Image(t *testing.T, dir string, tree content.Tree, options string) (string, error) {
	t.Helper()
	im, err := ext4.Plan(tree, ext4.Options{
		UUID: diskSeed, Label: "a-label", BuildTime: 1700000000, ExtraOptions: strings.Fields(options), Run: program.Run,
	})
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "image")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name()) // the loop device keeps it
	size := im.Size() + 4<<20
	if err := errors.Join(f.Truncate(mkfsOffset+size), im.Write(t.Context(), f, mkfsOffset, size), f.Close()); err != nil {
		return "", err
	}
	for _, cmd := range [][]string{{"/usr/sbin/e2fsck"}, {filepath.Join(project, "test/reference"), dir, "e2fsck"}} {
		args := append(cmd[1:], "-f", "-n", fmt.Sprintf("%s?offset=%d", f.Name(), mkfsOffset))
		if r := run(t, exec.Command(cmd[0], args...)); r.code != 0 {
			t.Errorf("e2fsck: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
	return mountPartition(t, f.Name(), mkfsOffset), nil
}

func TestExt4Options(t *testing.T) {
	root := mkfsSource(t)
	// Longer than a block of 1024 bytes, which a link may not be.
	tree := mkfsTree(t, root, "opt/long-link", "usr/share/many")
	for _, options := range []string{
		"", "-b 1024", "-b2048 -I 512 -L other", "-O ^64bit", "-O ^64bit,^metadata_csum", "-O ^has_journal,^resize_inode -O ^flex_bg",
		"-O verity,project,metadata_csum_seed,large_dir,orphan_file", "-J size=8 -i 8192 -m 1 -g 8192 -E stride=4", "-b 1024 -O ^metadata_csum -N 4000",
	} {
		t.Run(options, func(t *testing.T) {
			mount, err := ext4Image(t, filepath.Dir(root), tree, options)
			if err != nil {
				t.Fatal(err)
			}
			diskCompare(t, root, mount, ".", "lost+found")
			mkfsIsSparse(t, mount)
		})
	}
	for options, want := range map[string]string{
		"-O bigalloc": "bigalloc", "-O quota": "quota", "-O inline_data": "inline_data", "-O ^extent": "extent", "-I 128": "-I 128",
	} {
		if _, err := ext4Image(t, filepath.Dir(root), tree, options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
}

// Many names in one folder, more inodes than usual, and paths that the system
// does not take at once.
func TestExt4Extremes(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	// Short commands of a shell, which changes into the folders one by one.
	must(t, exec.Command("sh", "-ec", `
		mkdir -p "$0/many"
		cd "$0/many"
		seq -f 'an-empty-file-%06.0f' 40000 | xargs touch
		cd ..
		name=$(printf %0255d 0)
		for i in $(seq 20); do mkdir "$name"; cd -P "$name"; done
		echo text >file
		ln file other`, root))
	tree := mkfsTree(t, root)
	mount, err := ext4Image(t, filepath.Dir(root), tree, "")
	if err != nil {
		t.Fatal(err)
	}
	// Every name is looked up, which takes long without an index.
	list := func(dir string) string { return must(t, exec.Command("sh", "-ec", `cd "$0"; stat -c '%n %a %Y %i' * | sed 's/ [0-9]*$//'`, dir)) }
	if want, got := list(filepath.Join(root, "many")), list(filepath.Join(mount, "many")); got != want {
		t.Errorf("the folder with many names differs: %d and %d bytes", len(want), len(got))
	}
	out := must(t, exec.Command("sh", "-ec", `
		cd "$0"
		name=$(printf %0255d 0)
		for i in $(seq 20); do cd -P "$name"; done
		cat file
		stat -c %h other`, mount))
	if out != "text\n2\n" {
		t.Errorf("at the end of the long path: %q", out)
	}
}
