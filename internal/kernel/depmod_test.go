package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestDepmod(t *testing.T) {
	if diff := cmp.Diff([]string{"depmod", "--all", "6.1"}, Depmod("6.1", "")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"depmod", "--basedir=/buildroot", "--all", "6.1"}, Depmod("6.1", "/buildroot")); diff != "" {
		t.Error(diff)
	}
}

func TestStaleIndexes(t *testing.T) {
	root := plant(t, "usr/lib/modules/1/kernel/a/x.ko", "usr/lib/modules/1/kernel/b/y.ko", "usr/lib/modules/2/kernel/z.ko")
	stale := func() []string {
		t.Helper()
		got, err := StaleIndexes(t.Context(), root)
		must(t, err)
		return got
	}
	// The clock of inodes goes in steps; what is changed next is later.
	tick := func(name string) {
		t.Helper()
		clock := filepath.Join(root, "clock")
		must(t, os.WriteFile(clock, nil, 0o644))
		for ctime(t, clock) <= ctime(t, filepath.Join(root, name)) {
			must(t, os.Chmod(clock, 0o600))
		}
	}
	if diff := cmp.Diff([]string{"2", "1"}, stale()); diff != "" {
		t.Error("without indexes: " + diff)
	}
	dir := filepath.Join(root, "usr/lib/modules/1")
	must(t, os.WriteFile(filepath.Join(dir, "modules.dep"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "modules.symbols"), nil, 0o644))
	if diff := cmp.Diff([]string{"2"}, stale()); diff != "" {
		t.Error("with an index: " + diff)
	}
	tick("usr/lib/modules/1/modules.dep")
	must(t, os.Remove(filepath.Join(dir, "kernel/a/x.ko")))
	if diff := cmp.Diff([]string{"2", "1"}, stale()); diff != "" {
		t.Error("with a module less: " + diff)
	}
	must(t, os.Remove(filepath.Join(dir, "modules.dep")))
	must(t, os.WriteFile(filepath.Join(dir, "modules.dep"), nil, 0o644))
	if diff := cmp.Diff([]string{"2"}, stale()); diff != "" {
		t.Error("with a new index: " + diff)
	}
}

// ctime returns when an inode was last changed.
func ctime(t testing.TB, name string) int64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(name, &st))
	return st.Ctim.Nano()
}
