package inspect

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// list describes a tree, a line each.
func list(t *testing.T, tree content.Tree) string {
	t.Helper()
	var b strings.Builder
	for _, e := range tree {
		text := ""
		if e.Size > 0 {
			f, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(f)
			if err != nil || int64(len(data)) != e.Size {
				t.Errorf("/%s: %d bytes of %d, %v", e.Path, len(data), e.Size, err)
			}
			text = string(data)
		}
		fmt.Fprintf(&b, "/%s %o %d:%d %q %q %q\n", e.Path, e.Mode, e.UID, e.GID, text, e.Target, linkOf(&e))
	}
	return b.String()
}

func testTar(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range []struct {
		h    tar.Header
		text string
	}{
		{tar.Header{Typeflag: tar.TypeReg, Name: "./usr/b", Mode: 0o644}, "first"},
		{tar.Header{Typeflag: tar.TypeLink, Name: "./usr/a", Linkname: "./usr/b"}, ""},
		{tar.Header{Typeflag: tar.TypeDir, Name: "./usr/", Mode: 0o700, Uid: 5}, ""},
		{tar.Header{Typeflag: tar.TypeSymlink, Name: "./link", Linkname: "usr/b", Mode: 0o777}, ""},
		{tar.Header{Typeflag: tar.TypeReg, Name: "./gone/x", Mode: 0o644}, "x"},
		{tar.Header{Typeflag: tar.TypeReg, Name: "./gone", Mode: 0o600}, "a file in place of a folder"},
		{tar.Header{Typeflag: tar.TypeReg, Name: "./long", Mode: 0o600, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}, strings.Repeat("z", 5000)},
	} {
		e.h.Size = int64(len(e.text))
		if err := w.WriteHeader(&e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTar(t *testing.T) {
	s := open(t, "image.tar", testTar(t))
	want := `/ 40755 0:0 "" "" ""
/gone 100600 0:0 "a file in place of a folder" "" ""
/link 120777 0:0 "" "usr/b" ""
/long 100600 0:0 "` + strings.Repeat("z", 5000) + `" "" ""
/usr 40700 5:0 "" "" ""
/usr/a 100644 0:0 "first" "" ""
/usr/b 100644 0:0 "first" "" "/usr/a"
`
	if diff := cmp.Diff(want, list(t, s.tree)); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
	if x := s.tree[3].Xattrs; len(x) != 1 || x[0].Name != "user.x" || string(x[0].Value) != "y" {
		t.Errorf("attributes %v", x)
	}
}

// entry is one of a cpio archive in the newc format.
func entry(name string, mode, inode, links int, text string) string {
	head := "070701"
	for _, n := range []int{inode, mode, 1, 2, links, 1700000000, len(text), 0, 0, 0, 0, len(name) + 1, 0} {
		head += fmt.Sprintf("%08x", n)
	}
	head += name + "\x00"
	head += strings.Repeat("\x00", -len(head)&3)
	return head + text + strings.Repeat("\x00", -len(text)&3)
}

func testCPIO(entries ...string) string {
	return strings.Join(entries, "") + entry("TRAILER!!!", 0, 0, 1, "")
}

func TestInitrd(t *testing.T) {
	first := testCPIO(entry("kernel", 0o40755, 1, 2, ""), entry("kernel/microcode", 0o100644, 2, 1, "code"))
	var packed bytes.Buffer
	w, err := archive.NewWriter(&packed, archive.Zstd, 0)
	if err != nil {
		t.Fatal(err)
	}
	second := testCPIO(entry("init", 0o120777, 1, 1, "usr/lib/systemd"), entry("b", 0o100600, 7, 2, ""), entry("c", 0o100600, 7, 2, "both"))
	if _, err := io.WriteString(w, second+strings.Repeat("\x00", 512)+testCPIO(entry("d", 0o100600, 7, 1, "third"))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, "initrd", []byte(first+strings.Repeat("\x00", 300)+packed.String()))
	want := `/ 40755 0:0 "" "" ""
/b 100600 1:2 "both" "" ""
/c 100600 1:2 "both" "" "/b"
/d 100600 1:2 "third" "" ""
/init 120777 1:2 "" "usr/lib/systemd" ""
/kernel 40755 1:2 "" "" ""
/kernel/microcode 100644 1:2 "code" "" ""
`
	if diff := cmp.Diff(want, list(t, s.tree)); diff != "" {
		t.Errorf("initrd (-want +got):\n%s", diff)
	}
}

func TestArchiveErrors(t *testing.T) {
	for name, text := range map[string]string{
		"outside":           testCPIO(entry("../x", 0o100644, 1, 1, "x")),
		"no such type":      testCPIO(entry("x", 0o1, 1, 1, "")),
		"cut off":           testCPIO(entry("x", 0o100644, 1, 1, "x"))[:130],
		"followed by other": testCPIO(entry("x", 0o100644, 1, 1, "x")) + "other",
		"link to nothing":   string(append(testTar(t)[:0:0], linkToNothing(t)...)),
	} {
		path := t.TempDir() + "/archive"
		writeFile(t, path, []byte(text))
		s, err := Open(t.Context(), path, 0)
		if err == nil {
			t.Errorf("%s: accepted as %v", name, s.tree)
			s.Close()
		}
	}
}

func linkToNothing(t *testing.T) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "b"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
