package builtin_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/resources/builtin"
)

var distributions = []string{"fedora", "debian", "kali", "ubuntu", "postmarketos", "arch", "opensuse", "mageia", "centos", "rhel",
	"rhel-ubi", "openmandriva", "rocky", "alma", "azure", "custom"}

// others are command lines that hold where no default does.
var others = [][]string{
	{"--distribution=debian", "--release=bookworm"},
	{"--distribution=fedora", "--release=42"},
	{"--distribution=centos", "--release=9"},
	{"--distribution=debian", "--architecture=arm64"},
	{"--distribution=debian", "--architecture=s390x"},
	{"--distribution=postmarketos", "--architecture=arm64"},
	{"--distribution=centos", "--repositories=epel,hyperscale-packages-experimental"},
	{"--distribution=debian", "--format=uki"},
}

// profiles returns the profiles of a configuration, and "" for none.
func profiles(t *testing.T, name string) []string {
	t.Helper()
	paths, err := fs.Glob(builtin.FS, name+"/mkosi.profiles/*")
	if err != nil {
		t.Fatal(err)
	}
	for i := range paths {
		paths[i] = path.Base(paths[i])
	}
	return append(paths, "")
}

func load(t *testing.T, args ...string) *config.Config {
	t.Helper()
	c, err := config.Load(context.Background(), config.LoadOptions{
		Args: append([]string{"--format=directory"}, args...), Dir: t.TempDir(),
		Host: host.Facts{Distribution: "debian", Codename: "forky", Architecture: "x86-64", CPUs: 1, Environment: map[string]string{}},
	})
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	for _, w := range c.Warnings {
		t.Errorf("%q: %v", args, w)
	}
	return c
}

// loadAll reads every configuration but that for the Open Build Service, which needs directories of its workers, for
// every distribution and with each of its profiles.
func loadAll(t *testing.T) map[string][]*config.Config {
	t.Helper()
	lines := others
	for _, distribution := range distributions {
		lines = append(lines, []string{"--distribution=" + distribution})
	}
	all := map[string][]*config.Config{}
	for _, name := range []string{"mkosi-addon", "mkosi-initrd", "mkosi-tools", "mkosi-vm"} {
		for _, line := range lines {
			for _, profile := range profiles(t, name) {
				all[name] = append(all[name], load(t, append([]string{"--include=" + name, "--profile=" + profile}, line...)...))
			}
		}
	}
	return all
}

// TestEveryFileCounts reads everything without a warning and finds no file whose conditions never hold.
func TestEveryFileCounts(t *testing.T) {
	read := map[string]bool{}
	for _, configs := range loadAll(t) {
		for _, c := range configs {
			for _, source := range c.Sources {
				if source.Skipped == nil {
					read[strings.TrimPrefix(source.Path, "builtin:")] = true
				}
			}
		}
	}
	err := fs.WalkDir(builtin.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		conf := path.Base(name) == "mkosi.conf" || path.Base(path.Dir(name)) == "mkosi.conf.d"
		if !d.IsDir() && conf && !strings.HasPrefix(name, "mkosi-obs/") && !read[name] {
			t.Errorf("%s is never read", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// namedTwice are the exceptions, of mkosi-vm: the summary of the reference has them twice, and summaries are compared.
var namedTwice = []string{"kmod", "strace", "util-linux"}

// TestPackagesAreNamedOnce says each fact in one place: no two files that hold together name the same package.
func TestPackagesAreNamedOnce(t *testing.T) {
	for name, configs := range loadAll(t) {
		for _, c := range configs {
			seen := map[string]int{}
			for _, p := range c.Main().Packages {
				seen[p]++
			}
			maps.DeleteFunc(seen, func(p string, n int) bool {
				return n == 1 || name == "mkosi-vm" && slices.Contains(namedTwice, p)
			})
			if len(seen) > 0 {
				t.Errorf("%s for %s %s: named more than once: %v", name, c.Main().Distribution, c.Main().Release, slices.Sorted(maps.Keys(seen)))
			}
		}
	}
}

// TestCipherModules keeps the order of the patterns that depend on it: the last that matches a module decides.
func TestCipherModules(t *testing.T) {
	modules := load(t, "--include=mkosi-initrd", "--distribution=debian").Main().KernelModules
	var order []int
	for _, pattern := range []string{"crypto/", "-/drivers/crypto/", "ccp_crypto"} {
		order = append(order, slices.Index(modules, pattern))
	}
	if order[0] < 0 || !slices.IsSorted(order) {
		t.Errorf("the patterns for ciphers stand at %v of %q", order, modules)
	}
}

// TestBuildServiceMissesOnlyItsDirectories reads the configuration for the Open Build Service where its workers'
// directories are missing, and finds nothing else wrong.
func TestBuildServiceMissesOnlyItsDirectories(t *testing.T) {
	c, err := config.Load(context.Background(), config.LoadOptions{
		Args: []string{"--include=mkosi-obs"}, Dir: t.TempDir(),
		Host: host.Facts{Distribution: "debian", Codename: "forky", Architecture: "x86-64", CPUs: 1},
	})
	for _, w := range c.Warnings {
		t.Error(w)
	}
	var all config.Errors
	if err != nil && !errors.As(err, &all) {
		t.Fatal(err)
	}
	for _, e := range all {
		if !strings.Contains(e.Msg, "/usr/src/packages/") {
			t.Error(e)
		}
	}
}
