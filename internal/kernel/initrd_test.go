package kernel

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/archive"
)

func TestWriteModulesInitrd(t *testing.T) {
	root := plant(t,
		"usr/lib/modules/1/vmlinuz",
		"usr/lib/modules/1/modules.dep",
		"usr/lib/modules/1/modules.order",
		"usr/lib/modules/1/kernel/a/x.ko",
		"usr/lib/modules/1/kernel/a/y.ko.xz",
		"usr/lib/modules/1/kernel/b/z.ko",
		"usr/lib/modules/1/build -> /usr/src",
		"usr/lib/modules/2/modules.dep",
		"usr/lib/firmware/f/a.bin",
		"usr/lib/firmware/f/b.bin -> a.bin",
		"usr/lib/firmware/c.bin",
		"etc/passwd",
	)
	must(t, filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
		must(t, err)
		if fi, err := os.Lstat(p); err == nil && fi.IsDir() {
			must(t, os.Chtimes(p, plantTime, plantTime.Add(time.Hour)))
		}
		return nil
	}))
	s := Selection{
		Modules:  []string{"usr/lib/modules/1/kernel/a/y.ko.xz"},
		Firmware: []string{"usr/lib/firmware/f/a.bin", "usr/lib/firmware/f/b.bin"},
	}
	var b bytes.Buffer
	epoch := plantTime.Add(time.Minute)
	must(t, WriteModulesInitrd(t.Context(), &b, root, Kernel{Version: "1"}, s, epoch))
	var got []string
	r := archive.NewCPIOReader(&b)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		got = append(got, h.Name)
		if h.Mode>>12 == 4 && !h.ModTime.Equal(epoch) {
			t.Errorf("%s is of %v", h.Name, h.ModTime)
		}
	}
	want := []string{
		"usr/lib/firmware",
		"usr/lib/firmware/f",
		"usr/lib/firmware/f/a.bin",
		"usr/lib/firmware/f/b.bin",
		"usr/lib/modules",
		"usr/lib/modules/1",
		"usr/lib/modules/1/kernel",
		"usr/lib/modules/1/kernel/a",
		"usr/lib/modules/1/kernel/a/y.ko.xz",
		"usr/lib/modules/1/modules.dep",
		"usr/lib/modules/1/modules.order",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
