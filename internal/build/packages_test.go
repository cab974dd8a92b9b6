package build

import (
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
)

// apt keeps to metadata whose signature it checked, and fails when the new one cannot be; so they lie apart.
func TestUncheckedMetadataLiesApart(t *testing.T) {
	seen := map[string]string{}
	for name, img := range map[string]config.Image{
		"checked":      {RepositoryKeyCheck: true},
		"local mirror": {RepositoryKeyCheck: true, LocalMirror: "file:/mirror"},
	} {
		img.CacheDirectory, img.Distribution, img.Release, img.Architecture = "/cache", "debian", "trixie", "x86-64"
		dir := MetadataDir(&img)
		if other, ok := seen[dir]; ok {
			t.Errorf("%s and %s share %s", name, other, dir)
		}
		seen[dir] = name
	}
	if seen["/cache/debian~trixie~x86-64~main.metadata.cache"] != "checked" {
		t.Errorf("got %v", seen)
	}
}
