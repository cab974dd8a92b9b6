package manual

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("../../man", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("man/%s is out of date, write it with: go generate ./internal/manual", name)
		}
	}
	found, err := os.ReadDir("../../man")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		if files[e.Name()] == nil {
			t.Errorf("man/%s is not made by the generator: remove it", e.Name())
		}
	}
}
