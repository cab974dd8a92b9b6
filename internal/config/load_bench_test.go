package config

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config/configtest"
)

// BenchmarkLoad reads the tree of the corpus that bench/config reads, and
// writes its JSON summary.
func BenchmarkLoad(b *testing.B) {
	dir := filepath.Join(cmp.Or(os.Getenv("MKOSI_CORPUS"), "../../../shared/reference/corpus"), "lxc+incus-os")
	dir, err := filepath.Abs(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c, err := Load(b.Context(), LoadOptions{Args: []string{"--json", "summary"}, Dir: dir, Host: configtest.Host()})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := JSON(c); err != nil {
			b.Fatal(err)
		}
	}
}
