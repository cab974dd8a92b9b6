package config

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config/configtest"
)

// BenchmarkLoad reads the trees of the corpus with the most files and the most
// images, and writes their JSON summary.
func BenchmarkLoad(b *testing.B) {
	for _, name := range []string{"lxc+incus-os", "frostyard+snosi"} {
		b.Run(name, func(b *testing.B) { benchmarkLoad(b, name) })
	}
}

func benchmarkLoad(b *testing.B, name string) {
	dir := filepath.Join(cmp.Or(os.Getenv("MKOSI_CORPUS"), "../../../shared/reference/corpus"), name)
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
