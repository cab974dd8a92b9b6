//go:build integration

package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// archiveNames lists a tree in the order of an archive, a NUL after each name.
func archiveNames(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	treeMust(t, tree.Walk(t.Context(), root, func(e *tree.Entry) error {
		if e.Path != "." {
			b.WriteString(e.Path + "\x00")
		}
		return nil
	}))
	return b.String()
}

func TestArchiveCPIOLikeGNU(t *testing.T) {
	dir := treeDir(t)
	root, out := filepath.Join(dir, "root"), filepath.Join(dir, "out")
	treeMust(t, os.Mkdir(root, 0o755))
	treeMust(t, os.Mkdir(out, 0o755))
	treeSample(t, root)
	var ours bytes.Buffer
	treeMust(t, archive.WriteCPIO(t.Context(), &ours, root, archive.CPIOOptions{}))

	cmd := reference(dir, "cpio", "--create", "--reproducible", "--renumber-inodes", "--null", "--format=newc", "--quiet", "--directory", root)
	cmd.Stdin = strings.NewReader(archiveNames(t, root))
	if theirs := must(t, cmd); theirs != ours.String() {
		t.Errorf("%d bytes of GNU cpio and our %d differ", len(theirs), ours.Len())
	}

	cmd = reference(dir, "cpio", "--extract", "--preserve-modification-time", "--make-directories", "--quiet", "--directory", out)
	cmd.Stdin = &ours
	must(t, cmd)
	// The format has whole seconds; the root's own attributes and those of a
	// directory that cpio writes to afterwards are not its matter.
	treeEqual(t, root, out, tree.CompareOptions{IgnoreTimes: true, IgnoreXattrs: true})
}

// TestArchiveInitrdInZstd has the zstd program unpack what is written, and
// compares its size with the program's own.
func TestArchiveInitrdInZstd(t *testing.T) {
	dir := treeDir(t)
	must(t, exec.Command("cp", "-r", filepath.Join(project, "internal"), filepath.Join(dir, "root")))
	var plain, packed bytes.Buffer
	treeMust(t, archive.WriteCPIO(t.Context(), &plain, filepath.Join(dir, "root"), archive.CPIOOptions{Epoch: time.Unix(1, 0)}))
	w, err := archive.NewWriter(&packed, archive.Zstd, 3)
	treeMust(t, err)
	treeMust(t, archive.WriteCPIO(t.Context(), w, filepath.Join(dir, "root"), archive.CPIOOptions{Epoch: time.Unix(1, 0)}))
	treeMust(t, w.Close())
	size := packed.Len()
	cmd := reference(dir, "zstd", "-dc")
	cmd.Stdin = &packed
	if got := must(t, cmd); got != plain.String() {
		t.Error("zstd unpacks something else")
	}
	cmd = reference(dir, "zstd", "-3", "-c")
	cmd.Stdin = &plain
	if theirs := len(must(t, cmd)); size > theirs*105/100 {
		t.Errorf("%d bytes against %d of the zstd program", size, theirs)
	}
}

func TestArchiveTarLikeGNU(t *testing.T) {
	dir := treeDir(t)
	root, out := filepath.Join(dir, "root"), filepath.Join(dir, "out")
	treeMust(t, os.Mkdir(root, 0o755))
	treeMust(t, os.Mkdir(out, 0o755))
	treeSample(t, root)
	// What is below dev is left out on extraction.
	treeMust(t, os.Rename(filepath.Join(root, "dev"), filepath.Join(root, "nodes")))
	treeMust(t, os.Mkdir(filepath.Join(root, "dev"), 0o755))
	treeMust(t, os.WriteFile(filepath.Join(root, "sparse"), nil, 0o644))
	treeMust(t, os.Truncate(filepath.Join(root, "sparse"), 8<<20))
	for _, compressor := range []string{"", "--gzip", "--xz", "--zstd"} {
		to := filepath.Join(out, "t"+compressor)
		args := []string{"tar", "--create", "--file", "-", "--format=pax", "--sparse", "--xattrs", "--xattrs-include=*", "--directory", root, "."}
		if compressor != "" {
			args = append(args, compressor)
		}
		packed := must(t, reference(dir, args...))
		treeMust(t, archive.ExtractTar(t.Context(), strings.NewReader(packed), out, filepath.Base(to), archive.ExtractOptions{}))
		found, err := tree.Compare(t.Context(), root, to, tree.CompareOptions{})
		treeMust(t, err)
		for _, d := range found {
			// The directory that is extracted to keeps its attributes.
			if d.Path != "." {
				t.Errorf("%s: %s", compressor, d)
			}
		}
		var st unix.Stat_t
		treeMust(t, unix.Stat(filepath.Join(to, "sparse"), &st))
		if st.Blocks != 0 {
			t.Errorf("%s: the sparse file takes %d blocks", compressor, st.Blocks)
		}
	}
}
