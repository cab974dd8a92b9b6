package tree

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestCompare(t *testing.T) {
	a := plant(t, "same | x", "content | one", "size | 1", "mode", "type", "link -> a", "gone/f", "gone.x", "h1", "h2 = h1", "attr", "time")
	b := plant(t, "same | x", "content | two", "size | 12", "mode", "type/", "link -> b", "h1", "h2", "attr", "time", "new")
	must(t, os.Chmod(filepath.Join(b, "mode"), 0o600))
	must(t, unix.Setxattr(filepath.Join(b, "attr"), "user.x", []byte("v"), 0))
	var lines []string
	found, err := Compare(t.Context(), a, b, CompareOptions{IgnoreTimes: true})
	must(t, err)
	for _, d := range found {
		lines = append(lines, d.String())
	}
	want := []string{
		`attr: xattr is {} and {user.x="v"}`,
		`content: content differs`,
		`gone: only in the first`,
		`gone/f: only in the first`,
		`gone.x: only in the first`,
		`h2: link is the same file as h1 and the first name`,
		`link: target is a and b`,
		`mode: mode is 0644 and 0600`,
		`new: only in the second`,
		`size: size is 1 and 2`,
		`type: type is file and directory`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestCompareTimes(t *testing.T) {
	a, b := plant(t, "f"), plant(t, "f")
	for _, root := range []string{a, b} {
		setTime(t, filepath.Join(root, "f"), 1e9, 1)
		setTime(t, root, 1e9, 0)
	}
	if found, err := Compare(t.Context(), a, b, CompareOptions{}); err != nil || len(found) > 0 {
		t.Errorf("differences %v, %v", found, err)
	}
	setTime(t, filepath.Join(b, "f"), 1e9, 2)
	found, err := Compare(t.Context(), a, b, CompareOptions{})
	must(t, err)
	if len(found) != 1 || found[0].What != "mtime" || found[0].A != "2001-09-09T01:46:40.000000001Z" {
		t.Errorf("differences %v", found)
	}
}
