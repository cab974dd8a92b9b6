package tree

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plant makes the files that lines name below a new directory: "dir/" is a
// directory, "a -> b" a link, "a = b" a hard link to b, "a | text" a file with
// that content, "a" an empty file. Parents are made as needed.
func plant(t testing.TB, lines ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, line := range lines {
		name, target, isLink := strings.Cut(line, " -> ")
		name, first, isHard := strings.Cut(name, " = ")
		name, content, _ := strings.Cut(name, " | ")
		p := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch {
		case isLink:
			must(t, os.Symlink(target, p))
		case isHard:
			must(t, os.Link(filepath.Join(root, first), p))
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(p, 0o755))
		default:
			must(t, os.WriteFile(p, []byte(content), 0o644))
		}
	}
	return root
}

// names lists a tree in Walk's order.
func names(t testing.TB, root string) []string {
	t.Helper()
	var list []string
	must(t, Walk(t.Context(), root, func(e *Entry) error {
		line := e.Path
		if e.IsDir() {
			line += "/"
		}
		if e.Target != "" {
			line += " -> " + e.Target
		}
		if e.First != "" {
			line += " = " + e.First
		}
		list = append(list, line)
		return nil
	}))
	return list[1:]
}

// unchanged fails the test if dir or a file directly in it changes before it ends.
func unchanged(t *testing.T, dir string) {
	t.Helper()
	state := func() string {
		var b strings.Builder
		must(t, Walk(context.Background(), dir, func(e *Entry) error {
			fmt.Fprintln(&b, e.Path, e.Stat.Mode, e.Stat.Size, e.Stat.Mtim)
			return nil
		}))
		return b.String()
	}
	before := state()
	t.Cleanup(func() {
		if after := state(); after != before {
			t.Errorf("what is outside has changed:\n%s\n%s", before, after)
		}
	})
}

func setTime(t *testing.T, p string, sec, nsec int64) {
	t.Helper()
	ts := []unix.Timespec{{Sec: sec, Nsec: nsec}, {Sec: sec, Nsec: nsec}}
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW))
}
