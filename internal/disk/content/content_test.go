package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// sample makes a folder with a secret beside it that links lead to.
func sample(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "root")
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"usr/lib", "usr-merge", "opt/x", "proc/1", "secret-inside"} {
		do(os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	do(os.Mkdir(filepath.Join(top, "secret"), 0o755))
	do(os.WriteFile(filepath.Join(top, "secret/key"), []byte("k"), 0o644))
	for _, name := range []string{"usr/lib/b", "usr/lib/a", "usr/c", "opt/x/o", "proc/1/exe"} {
		do(os.WriteFile(filepath.Join(root, name), []byte(name), 0o640))
	}
	do(os.Link(filepath.Join(root, "usr/lib/b"), filepath.Join(root, "opt/hard")))
	do(os.Symlink("../../secret", filepath.Join(root, "usr/out")))
	do(os.Symlink("/secret/key", filepath.Join(root, "usr/abs")))
	do(unix.Lsetxattr(filepath.Join(root, "usr/c"), "user.z", []byte("1"), 0))
	do(unix.Lsetxattr(filepath.Join(root, "usr/c"), "user.a", nil, 0))
	do(unix.Lsetxattr(filepath.Join(root, "usr/c"), "user.overlay.opaque", []byte("y"), 0))
	do(unix.Lsetxattr(filepath.Join(root, "usr"), "user.dir", []byte("2"), 0))
	return root
}

// names lists a tree: paths, with what matters about them.
func names(t *testing.T, sel Selection) []string {
	t.Helper()
	tree, closeTree, err := Read(t.Context(), sel)
	if err != nil {
		t.Fatal(err)
	}
	defer closeTree()
	var out []string
	for _, e := range tree {
		s := "/" + e.Path
		switch {
		case e.HardLink:
			s += " = /" + e.Link
		case e.Type() == unix.S_IFLNK:
			s += " -> " + e.Target
		case e.Type() == unix.S_IFREG:
			r, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil || int64(len(b)) != e.Size {
				t.Errorf("%s has %d bytes, not %d, %v", e.Path, len(b), e.Size, err)
			}
			r.Close()
			s += ": " + string(b)
		}
		for _, x := range e.Xattrs {
			if strings.HasPrefix(x.Name, "user.") {
				s += fmt.Sprintf(" %s=%s", x.Name, x.Value)
			}
		}
		out = append(out, s)
	}
	return out
}

func TestRead(t *testing.T) {
	root := sample(t)
	for name, tt := range map[string]struct {
		sel  Selection
		want []string
	}{
		"everything but": {
			Selection{Copies: []Copy{{Source: "/", Target: "/"}}, Exclude: []string{"/proc/", "/opt/x"}, ExcludeTarget: []string{"/usr/lib/a"}},
			[]string{"/", "/opt", "/opt/hard: usr/lib/b", "/proc", "/secret-inside", "/usr user.dir=2", "/usr/abs -> /secret/key",
				"/usr/c: usr/c user.a= user.z=1", "/usr/lib", "/usr/lib/b = /opt/hard", "/usr/out -> ../../secret", "/usr-merge"},
		},
		"one folder": {
			Selection{Copies: []Copy{{Source: "/opt", Target: "/opt"}, {Source: "/missing/deep", Target: "/"}, {Source: "/missing", Target: "/"}}},
			[]string{"/", "/opt", "/opt/hard: usr/lib/b", "/opt/x", "/opt/x/o: opt/x/o"},
		},
		"elsewhere": {
			Selection{Copies: []Copy{{Source: "/opt/x", Target: "/a/b"}, {Source: "/usr/c", Target: "/a/c"}}, Directories: []string{"/a", "/m/n"}},
			[]string{"/", "/a", "/a/b", "/a/b/o: opt/x/o", "/a/c: usr/c user.a= user.z=1", "/m", "/m/n"},
		},
		"two into one": {
			Selection{Copies: []Copy{{Source: "/opt/x", Target: "/"}, {Source: "/usr/lib", Target: "/"}}},
			[]string{"/", "/a: usr/lib/a", "/b: usr/lib/b", "/o: opt/x/o"},
		},
		"nothing": {Selection{}, []string{"/"}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.sel.Root = root
			if diff := cmp.Diff(tt.want, names(t, tt.sel)); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadNeverLeavesRoot(t *testing.T) {
	root := sample(t)
	for _, source := range []string{"/usr/out/key", "/usr/abs/x", "/usr/out/../key", "/../secret/key"} {
		tree, closeTree, err := Read(t.Context(), Selection{Root: root, Copies: []Copy{{Source: source, Target: "/found"}}})
		if err != nil {
			continue
		}
		closeTree()
		for _, e := range tree {
			if e.Path != "" {
				t.Errorf("%s: found %s", source, e.Path)
			}
		}
	}
	// A folder that is replaced by a link after it was read.
	tree, closeTree, err := Read(t.Context(), Selection{Root: root, Copies: []Copy{{Source: "/opt/x", Target: "/"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeTree()
	secret := filepath.Join(filepath.Dir(root), "secret")
	if err := errors.Join(
		os.RemoveAll(filepath.Join(root, "opt/x")),
		os.WriteFile(filepath.Join(secret, "o"), []byte("opt/x/o"), 0o644),
		os.Symlink(secret, filepath.Join(root, "opt/x")),
	); err != nil {
		t.Fatal(err)
	}
	if r, err := tree[1].Open(); err == nil {
		r.Close()
		t.Error("opened a file through a link")
	}
}

func TestReadConflict(t *testing.T) {
	root := sample(t)
	for _, copies := range [][]Copy{
		{{Source: "/usr/c", Target: "/x"}, {Source: "/opt", Target: "/x"}},
		{{Source: "/usr/c", Target: "/x"}, {Source: "/opt", Target: "/x/y"}},
		{{Source: "/usr/c", Target: "/"}},
	} {
		if _, _, err := Read(t.Context(), Selection{Root: root, Copies: copies}); err == nil {
			t.Errorf("%v: no error", copies)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Read(ctx, Selection{Root: root, Copies: []Copy{{Source: "/", Target: "/"}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, _, err := Read(t.Context(), Selection{Root: filepath.Join(root, "missing")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing root: %v", err)
	}
}

func TestReadClampsTimes(t *testing.T) {
	limit := int64(1000000000)
	tree, closeTree, err := Read(t.Context(), Selection{Root: sample(t), Copies: []Copy{{Source: "/", Target: "/"}}, ClampMtime: &limit})
	if err != nil {
		t.Fatal(err)
	}
	defer closeTree()
	for _, e := range tree {
		if e.Mtime != limit || e.MtimeNsec != 0 {
			t.Errorf("/%s has the time %d.%d", e.Path, e.Mtime, e.MtimeNsec)
		}
	}
}

func TestCheck(t *testing.T) {
	dir := func(p string) Entry { return Entry{Path: p, Mode: unix.S_IFDIR} }
	fifo := func(p string) Entry { return Entry{Path: p, Mode: unix.S_IFIFO} }
	good := Tree{dir(""), dir("a"), fifo("a/x"), fifo("a-b"), {Path: "l", HardLink: true, Link: "a/x"}}
	if err := good.Check(); err != nil {
		t.Errorf("good tree: %v", err)
	}
	for name, tree := range map[string]Tree{
		"empty":       {},
		"no top":      {dir("a")},
		"top is file": {fifo("")},
		"order":       {dir(""), fifo("b"), fifo("a")},
		"twice":       {dir(""), fifo("a"), fifo("a")},
		"no parent":   {dir(""), fifo("a/b")},
		"file parent": {dir(""), fifo("a"), fifo("a/b")},
		"dots":        {dir(""), fifo("..")},
		"slashes":     {dir(""), dir("a"), fifo("a//b")},
		"zero":        {dir(""), fifo("a\x00b")},
		"long name":   {dir(""), fifo(strings.Repeat("n", 256))},
		"no content":  {dir(""), {Path: "a", Mode: unix.S_IFREG, Size: 1}},
		"negative":    {dir(""), {Path: "a", Mode: unix.S_IFREG, Size: -1}},
		"no target":   {dir(""), {Path: "a", Mode: unix.S_IFLNK}},
		"long target": {dir(""), {Path: "a", Mode: unix.S_IFLNK, Target: strings.Repeat("t", 4096)}},
		"no type":     {dir(""), {Path: "a", Mode: 0o644}},
		"dir link":    {dir(""), dir("a"), {Path: "b", HardLink: true, Link: "a"}},
		"late link":   {dir(""), {Path: "a", HardLink: true, Link: "b"}, fifo("b")},
	} {
		if err := tree.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPieces(t *testing.T) {
	entry := func(size int64, data string) *Entry {
		return &Entry{Size: size, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data)), nil }}
	}
	data := strings.Repeat("0123456789", 10)
	for _, length := range []int{0, 1, 7, 8, 9, 16, 100} {
		got := ""
		err := entry(int64(length), data[:length]).Pieces(t.Context(), make([]byte, 8), func(p []byte, off int64) error {
			if off != int64(len(got)) || len(p) == 0 {
				t.Errorf("piece of %d bytes at %d after %d", len(p), off, len(got))
			}
			got += string(p)
			return nil
		})
		if err != nil || got != data[:length] {
			t.Errorf("%d bytes: %q, %v", length, got, err)
		}
	}
	ignore := func([]byte, int64) error { return nil }
	for _, size := range []int64{1, 8, 15, 16, 17} {
		for _, length := range []int64{size - 1, size + 1} {
			if err := entry(size, data[:length]).Pieces(t.Context(), make([]byte, 8), ignore); err == nil {
				t.Errorf("%d bytes were accepted for a size of %d", length, size)
			}
		}
	}
	failed := errors.New("full")
	if err := entry(9, data[:9]).Pieces(t.Context(), make([]byte, 8), func([]byte, int64) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("lost error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := entry(9, data[:9]).Pieces(ctx, make([]byte, 8), ignore); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestReadMade(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "old"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Selection{
		Root: root, Copies: []Copy{{"/", "/"}},
		Symlinks: []Symlink{{"/a/link", "../old"}}, Files: []File{{"/old", []byte("new text")}, {"/etc/fstab", nil}},
	}
	tree, closeTree, err := Read(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer closeTree()
	var got []string
	for _, e := range tree {
		got = append(got, fmt.Sprintf("/%s %o %d %s", e.Path, e.Mode, e.Size, e.Target))
	}
	want := []string{"/ 40700 0 ", "/a 40755 0 ", "/a/link 120777 0 ../old", "/etc 40755 0 ", "/etc/fstab 100644 0 ", "/old 100644 8 "}
	want[0] = got[0] // what the umask makes of it
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s.Symlinks = []Symlink{{"/old", "elsewhere"}}
	if _, _, err := Read(t.Context(), s); err == nil || !strings.Contains(err.Error(), "/old") {
		t.Errorf("a link in place of a file: %v", err)
	}
}
