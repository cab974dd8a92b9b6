package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestInitrdOptions holds what the default initrd has from the settings for it: what files say can be taken back in
// mkosi.initrd.conf, what the command line says cannot, and its profiles then come on top of those of the main image.
func TestInitrdOptions(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mkosi.conf":        "[Config]\nProfiles=debug\n[Content]\nInitrds=default\nInitrdPackages=zfile\nInitrdProfiles=lvm\n",
		"mkosi.initrd.conf": "[Content]\nPackages=\nPackages=yy\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args           []string
		profiles, last []string
	}{
		{nil, []string{"lvm"}, []string{"yy"}},
		{[]string{"--initrd-package=aaa", "--initrd-profile=nfs"}, []string{"debug", "lvm", "nfs"}, []string{"yy", "zfile", "aaa"}},
	} {
		c, err := load(t, dir, append(tt.args, "summary")...)
		if err != nil {
			t.Fatal(err)
		}
		img := c.Image(defaultInitrdName)
		if diff := cmp.Diff(tt.profiles, img.Profiles); diff != "" {
			t.Errorf("%q: profiles: %s", tt.args, diff)
		}
		if diff := cmp.Diff(tt.last, img.Packages[len(img.Packages)-len(tt.last):]); diff != "" {
			t.Errorf("%q: packages: %s", tt.args, diff)
		}
		if tt.args == nil && slices.Contains(img.Packages, "zfile") {
			t.Error("mkosi.initrd.conf cannot take a package back")
		}
	}
}
