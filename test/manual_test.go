//go:build integration

package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestManualPagesPleaseMan(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(project, "man/*.[1-8]"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("found no manual pages: %v", err)
	}
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "page"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		r := run(t, reference(dir, "env", "LC_ALL=C.UTF-8", "MANWIDTH=80", "man", "-l", "--warnings", "-P", "cat", "./page"))
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%s: exit code %d: %s", filepath.Base(page), r.code, r.stderr)
		}
		if !strings.Contains(r.stdout, "NAME") {
			t.Errorf("%s has no name", filepath.Base(page))
		}
	}
}
