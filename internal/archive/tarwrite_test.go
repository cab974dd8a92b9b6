package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/tree"
)

func TestWriteTar(t *testing.T) {
	root := sample(t)
	long := strings.Repeat("n", 200)
	must(t, os.WriteFile(filepath.Join(root, long), []byte("long"), 0o600))
	must(t, os.Chmod(filepath.Join(root, long), 0o750|os.ModeSetuid))
	must(t, unix.Setxattr(filepath.Join(root, "d"), "user.key", []byte("a\x00b"), 0))
	must(t, unix.Mkfifo(filepath.Join(root, ".pipe"), 0o600))
	must(t, os.Chtimes(filepath.Join(root, "d.x"), time.Time{}, time.Unix(1e9, 999)))
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	defer unix.Close(listener)
	wd, err := os.Getwd()
	must(t, err)
	must(t, os.Chdir(root)) // the path of a socket is short
	err = unix.Bind(listener, &unix.SockaddrUnix{Name: "socket"})
	must(t, os.Chdir(wd))
	must(t, err)

	var b bytes.Buffer
	must(t, WriteTar(t.Context(), &b, root))
	var lines []string
	r := tar.NewReader(bytes.NewReader(b.Bytes()))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		line := strings.TrimSpace(fmt.Sprintf("%c %s %q %s", h.Typeflag, h.Name, content, h.Linkname))
		if x := h.PAXRecords["SCHILY.xattr.user.key"]; x != "" {
			line += fmt.Sprintf(" %q", x)
		}
		lines = append(lines, line)
		if h.Uid != os.Getuid() || h.Uname != "" || h.ModTime.Nanosecond() != 0 || !h.AccessTime.IsZero() {
			t.Errorf("%s: owner %d %q, time %s", h.Name, h.Uid, h.Uname, h.ModTime)
		}
		if h.Name == "./"+long && h.Mode != 0o4750 {
			t.Errorf("mode %o", h.Mode)
		}
	}
	want := []string{
		`5 ./ ""`,
		`6 ./.pipe ""`,
		`0 ./a.b "dot sorts before slash\n"`,
		`5 ./d/ "" "a\x00b"`,
		`0 ./d/file "12345"`,
		`0 ./d/second "shared"`,
		`5 ./d/sub/ ""`,
		`0 ./d.x ""`,
		`1 ./first "" ./d/second`,
		`2 ./link "" /etc/passwd`,
		`0 ./` + long + ` "long"`,
		`1 ./zz "" ./d/second`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}

	// What is extracted again is the same tree.
	copied := t.TempDir()
	must(t, ExtractTar(t.Context(), bytes.NewReader(b.Bytes()), copied, "", mine))
	must(t, os.Remove(filepath.Join(root, "socket")))
	differences, err := tree.Compare(t.Context(), root, copied, tree.CompareOptions{IgnoreTimes: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		if d.Path != "." { // a directory that is extracted to keeps its mode
			t.Errorf("%v", d)
		}
	}
}

// A writer that fails and an impatient user end the writing.
func TestWriteTarEnds(t *testing.T) {
	root := sample(t)
	if err := WriteTar(t.Context(), &brokenWriter{}, root); !errors.Is(err, os.ErrClosed) {
		t.Errorf("broken writer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WriteTar(ctx, io.Discard, root); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := WriteTar(t.Context(), io.Discard, filepath.Join(root, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no tree: %v", err)
	}
}
