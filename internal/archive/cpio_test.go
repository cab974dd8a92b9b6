package archive

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample makes a small tree in which every type is found that an ordinary user
// may create.
func sample(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "d/sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "a.b"), []byte("dot sorts before slash\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "d/file"), []byte("12345"), 0o600))
	must(t, os.WriteFile(filepath.Join(root, "d.x"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(root, "first"), []byte("shared"), 0o644))
	must(t, os.Link(filepath.Join(root, "first"), filepath.Join(root, "d/second")))
	must(t, os.Link(filepath.Join(root, "first"), filepath.Join(root, "zz")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(root, "link")))
	for _, name := range []string{"a.b", "d/file", "d.x", "first", "d/sub", "d"} {
		must(t, os.Chtimes(filepath.Join(root, name), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	}
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func listCPIO(t *testing.T, r io.Reader) []string {
	t.Helper()
	var lines []string
	c := NewCPIOReader(r)
	for {
		h, err := c.Next()
		if err == io.EOF {
			return lines
		}
		must(t, err)
		content, err := io.ReadAll(c)
		must(t, err)
		lines = append(lines, fmt.Sprintf("%s %d %o %d %q", h.Name, h.Inode, h.Mode>>12, h.Links, content))
	}
}

func TestWriteCPIO(t *testing.T) {
	root := sample(t)
	var b bytes.Buffer
	must(t, WriteCPIO(t.Context(), &b, root, CPIOOptions{}))
	if b.Len()%512 != 0 {
		t.Errorf("length %d is not a multiple of 512", b.Len())
	}
	// Names of one file stand together at the last one, most recent first, as
	// GNU cpio has them; inodes are numbered by first sight.
	want := []string{
		`a.b 0 10 1 "dot sorts before slash\n"`,
		`d 1 4 2 ""`,
		`d/file 2 10 1 "12345"`,
		`d/sub 4 4 2 ""`,
		`d.x 5 10 1 ""`,
		`link 6 12 1 "/etc/passwd"`,
		`first 3 10 3 ""`,
		`d/second 3 10 3 ""`,
		`zz 3 10 3 "shared"`,
	}
	if diff := cmp.Diff(want, listCPIO(t, &b)); diff != "" {
		t.Error(diff)
	}
}

func TestWriteCPIOOptions(t *testing.T) {
	root := sample(t)
	epoch := time.Unix(5e8, 0)
	var b bytes.Buffer
	must(t, WriteCPIO(t.Context(), &b, root, CPIOOptions{
		Epoch:   epoch,
		Exclude: func(p string) bool { return p == "d" || p == "zz" },
	}))
	c := NewCPIOReader(&b)
	var names []string
	for {
		h, err := c.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		names = append(names, h.Name)
		if !h.ModTime.Equal(epoch) {
			t.Errorf("%s: time %s is not clamped", h.Name, h.ModTime)
		}
		// With the other names left out it is an ordinary file.
		if h.Name == "first" && (h.Links != 1 || h.Size != 6) {
			t.Errorf("first has %d links and %d bytes", h.Links, h.Size)
		}
	}
	if diff := cmp.Diff([]string{"a.b", "d.x", "first", "link"}, names); diff != "" {
		t.Error(diff)
	}
}

type brokenWriter struct{ n int }

func (b *brokenWriter) Write(p []byte) (int, error) {
	b.n++
	return 0, os.ErrClosed
}

func TestWriteCPIOReportsWriteErrors(t *testing.T) {
	w := &brokenWriter{}
	err := WriteCPIO(t.Context(), w, sample(t), CPIOOptions{})
	if err == nil || !strings.Contains(err.Error(), "writing the cpio archive") {
		t.Errorf("error is %v", err)
	}
	if w.n != 1 {
		t.Errorf("%d writes after the first failed", w.n-1)
	}
}

func FuzzCPIOReader(f *testing.F) {
	entry := func(name, content string) string {
		pad := func(n int) string { return strings.Repeat("\x00", -n&3) }
		return fmt.Sprintf("070701%08X%08X%016X%08X%08X%08X%032X%08X%08X%s\x00%s%s%s", 1, 0o100644, 0, 1, 0,
			len(content), 0, len(name)+1, 0, name, pad(110+len(name)+1), content, pad(len(content)))
	}
	f.Add([]byte(entry("a", "hello") + entry(cpioTrailer, "")))
	f.Add([]byte(entry("../x", "") + entry("dir/y", strings.Repeat("z", 999))))
	f.Add([]byte(strings.Replace(entry("a", "b"), "00000001", "ffffffff", -1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewCPIOReader(bytes.NewReader(data))
		for {
			h, err := c.Next()
			if err != nil {
				return
			}
			if h.Name == "" || strings.Contains(h.Name, "\x00") {
				t.Fatalf("name %q", h.Name)
			}
			n, err := io.Copy(io.Discard, c)
			if err == nil && n != h.Size {
				t.Fatalf("%d bytes of %d without an error", n, h.Size)
			}
			if err != nil {
				return
			}
		}
	})
}
