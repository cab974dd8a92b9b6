package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestCheck reads the trees of testdata/check, a kind of mistake each, or
// something that is right and looks like one. All that is said about a tree is
// in its last file, so that one mistake is told once. The comment says the
// rule and may have a line with arguments. A file that starts with an arrow
// is a symbolic link, and \xff stands for that byte.
func TestCheck(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, args, _ := strings.Cut(string(archive.Comment), "\nargs: ")
			last := &archive.Files[len(archive.Files)-1]
			if last.Name != "want" {
				t.Fatal("the last file is not what is wanted")
			}
			dir := writeTree(t, archive.Files[:len(archive.Files)-1])
			c, err := load(t, dir, append(strings.Fields(args), "check")...)
			got := reportText(Check(c, err), dir)
			if *update {
				last.Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(last.Data), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// writeTree makes files in a new directory.
func writeTree(t *testing.T, files []txtar.File) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(f.Data), `\xff`, "\xff")
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(strings.TrimSpace(target), path)
		} else if err = os.WriteFile(path, []byte(text), 0o644); err == nil {
			err = os.Chmod(path, 0o644) // whatever the umask is
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// reportText is a report as a person would see it, without the excerpts.
func reportText(r Report, dir string) string {
	var b strings.Builder
	add := func(severity string, list []*Error) {
		for _, e := range list {
			b.WriteString(severity + ": " + strings.TrimPrefix(e.Error(), dir+"/") + "\n")
			if e.Hint != "" {
				b.WriteString("hint: " + e.Hint + "\n")
			}
		}
	}
	add("error", r.Errors)
	add("warning", r.Warnings)
	return strings.ReplaceAll(b.String(), dir, "$DIR")
}
