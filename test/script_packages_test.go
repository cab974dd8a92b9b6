//go:build integration

package test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/pkgmgr/debtest"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
)

// init makes this binary a command of the scripts below.
func init() {
	if name, ok := script.Invoked(); ok {
		err := script.Run(context.Background(), name, os.Args[1:])
		if exit := (*sandbox.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(script.ExitCode(err))
	}
}

// scriptImage is a system with a package manager, for scripts.
type scriptImage struct {
	apt  *pkgmgr.Apt
	root string
	own  string // directory of packages for the local repository
}

// newScriptImage bootstraps a system from a repository with these packages.
func newScriptImage(t *testing.T, packages ...*debtest.Package) *scriptImage {
	t.Helper()
	dir := t.TempDir()
	a, key := localApt(t, "kali", distro.Request{Release: "kali-rolling", Mirror: debServer(t, dir)})
	debtest.WriteRepository(t, dir, key, []string{"kali-rolling"}, []string{"main"}, append(packages, minimal)...)
	a.RepositoryDir = filepath.Join(t.TempDir(), "repository")
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
	if err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	img := &scriptImage{apt: a, root: t.TempDir(), own: t.TempDir()}
	if err := a.Bootstrap(t.Context(), img.root, nil); err != nil {
		t.Fatal(err)
	}
	return img
}

// run runs a script of this text and returns what it prints.
func (img *scriptImage) run(t *testing.T, kind script.Kind, withNetwork bool, text string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	writeFile(t, path, []byte("#!/bin/sh\n"+text), 0o755)
	v := &script.View{
		Image: &config.Image{Distribution: "kali", Release: "kali-rolling", Architecture: "x86-64", WithNetwork: withNetwork},
		Root:  img.root,
	}
	var err error
	if v.Tools, err = img.apt.Tools(kind.Network(v.Image)); err != nil {
		t.Fatal(err)
	}
	cmd, err := v.Command(kind, path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run(t.Context())
	return out.String(), err
}

func (img *scriptImage) has(name string) bool {
	_, err := os.Lstat(filepath.Join(img.root, name))
	return err == nil
}

// file is a package with one file, named like itself.
func file(name, content string) *debtest.Package {
	return &debtest.Package{
		Name: name, Files: []tar.Header{debtest.File("/"+name, 0o644)}, Content: map[string]string{"/" + name: content},
	}
}

// TestScriptPackages installs and removes packages from scripts, which act on the image.
func TestScriptPackages(t *testing.T) {
	img := newScriptImage(t, file("extra", "1"), file("more", "1"))
	if err := os.MkdirAll(filepath.Join(img.root, "usr/sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	file("own", "1").Write(t, img.own)
	if err := img.apt.AddPackages(t.Context(), []string{img.own}); err != nil {
		t.Fatal(err)
	}
	out, err := img.run(t, script.Prepare, false, `set -e
mkosi-install extra own
dpkg-query -W -f '${Package} ' extra own
apt-get update
apt-get install more
apt-mark showmanual
mkosi-reinstall extra
mkosi-remove own
test ! -e /etc/apt/trusted.gpg.d/x
exec dpkg -s own
`)
	if exit := (*sandbox.ExitError)(nil); !errors.As(err, &exit) || exit.Code != 1 || !strings.Contains(out, "package 'own' is not installed") {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "extra own ") || !img.has("extra") || !img.has("more") || img.has("own") {
		t.Errorf("the image is not as it should be:\n%s", out)
	}
	for _, name := range []string{"usr/sbin/policy-rc.d", "run/host", "dev/null", "var/lib/dpkg/lock-frontend"} {
		if img.has(name) {
			t.Errorf("/%s is left in the image", name)
		}
	}
}

// TestScriptPackagesNetwork keeps scripts without the network from the repositories, and lets them have what is local.
func TestScriptPackagesNetwork(t *testing.T) {
	img := newScriptImage(t, file("extra", "1"))
	file("own", "1").Write(t, img.own)
	if err := img.apt.AddPackages(t.Context(), []string{img.own}); err != nil {
		t.Fatal(err)
	}
	if out, err := img.run(t, script.PostInstallation, false, "mkosi-install extra"); err == nil || img.has("extra") {
		t.Errorf("a package came over the network: %s", out)
	}
	if out, err := img.run(t, script.PostInstallation, false, "mkosi-install own"); err != nil || !img.has("own") {
		t.Errorf("%v: %s", err, out)
	}
	// Without the network for apt, CacheOnly=always, though scripts have it.
	img.apt.Offline = true
	if out, err := img.run(t, script.PostInstallation, true, "mkosi-install extra"); err == nil || img.has("extra") {
		t.Errorf("a package came over the network: %s", out)
	}
	img.apt.Offline = false
	if out, err := img.run(t, script.PostInstallation, true, "mkosi-install extra"); err != nil || !img.has("extra") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestDebRebuiltPackage installs, on an overlay, a package that was built once more as the same version.
func TestDebRebuiltPackage(t *testing.T) {
	img := newScriptImage(t)
	for _, content := range []string{"1", "2", "3"} {
		file("own", content).Write(t, img.own)
		if err := img.apt.AddPackages(t.Context(), []string{img.own}); err != nil {
			t.Fatal(err)
		}
		upper, work, merged := t.TempDir(), t.TempDir(), t.TempDir()
		overlay := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", img.root, upper, work)
		must(t, exec.Command("mount", "-t", "overlay", "overlay", "-o", overlay, merged))
		err := img.apt.Install(t.Context(), merged, []string{"own"})
		must(t, exec.Command("umount", merged))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(upper, "own")); err != nil || string(got) != content {
			t.Errorf("got build %q, %v, want %q", got, err, content)
		}
	}
	if img.has("own") {
		t.Error("the package reached the tree below the overlay")
	}
}

// TestDebOffline builds from the cache alone, and says what is missing there.
func TestDebOffline(t *testing.T) {
	img := newScriptImage(t, file("extra", "1"), file("absent", "1"))
	if err := img.apt.Install(t.Context(), img.root, []string{"extra"}); err != nil {
		t.Fatal(err)
	}
	img.apt.Offline = true
	root := t.TempDir()
	if err := img.apt.Bootstrap(t.Context(), root, []string{"extra"}); err != nil {
		t.Errorf("from the cache: %v", err)
	}
	hinted := func(err error, want string) {
		t.Helper()
		var told *pkgmgr.Error
		if !errors.As(err, &told) || !strings.Contains(told.Error(), want) || !strings.Contains(told.Hint(), "CacheOnly=always") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	hinted(img.apt.Install(t.Context(), root, []string{"absent"}), "absent_1_amd64.deb is not in the package cache")
	hinted(img.apt.Sync(t.Context()), "cannot be updated without the network")
	img.apt.MetadataDir = t.TempDir()
	hinted(img.apt.Bootstrap(t.Context(), t.TempDir(), nil), "metadata is not in the cache")
	hinted(img.apt.Install(t.Context(), root, []string{"absent"}), "metadata is not in the cache")
}

// TestScriptPackagesCache changes the package caches from a script, and finds them as they were.
func TestScriptPackagesCache(t *testing.T) {
	img := newScriptImage(t, file("extra", "1"))
	out, err := img.run(t, script.Prepare, false, `set -e
mkosi-install extra
test -e /var/cache/apt/archives/extra*.deb
for d in /var/lib/apt/lists /var/cache/apt /var/cache/apt/archives; do touch $d/poison; done
for f in /var/lib/apt/lists/*_Packages /var/cache/apt/archives/*.deb; do echo poison >>$f; done
`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, dir := range []string{img.apt.MetadataDir, img.apt.PackageDir} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if d.Name() == "poison" || bytes.Contains(data, []byte("poison")) || strings.HasPrefix(d.Name(), "extra") {
				t.Errorf("a script changed %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
