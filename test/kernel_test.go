//go:build integration

package test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/kernel"
)

// kernelPackage is the package with the modules of a kernel, of the release that the reference is of. It is kept between
// runs.
func kernelPackage(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(debCache(t), "kernel")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	packages := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, "linux-modules-*.deb"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if len(packages()) == 0 {
		const script = `apt-get -q -o Acquire::Check-Valid-Until=false update
			apt-get -q download "linux-modules-$(apt-cache depends linux-image-amd64 | sed -n 's/.*linux-image-\([0-9]\)/\1/p')"`
		must(t, reference(dir, "bash", "-ec", script))
	}
	return packages()[0]
}

// unpackKernel unpacks the modules of a kernel, indexes them, and returns the kernel's version.
func unpackKernel(t *testing.T, root string) (version string) {
	t.Helper()
	must(t, exec.Command("dpkg-deb", "-x", kernelPackage(t), root))
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	stale, err := kernel.StaleIndexes(t.Context(), root)
	if err != nil || len(stale) != 1 {
		t.Fatalf("the package has the kernels %q without indexes (%v)", stale, err)
	}
	must(t, reference(root, kernel.Depmod(stale[0], root)...))
	if again, err := kernel.StaleIndexes(t.Context(), root); err != nil || len(again) != 0 {
		t.Fatalf("the indexes of %q are not taken for new (%v)", again, err)
	}
	return stale[0]
}

// TestKernelModules takes the modules of a real kernel.
func TestKernelModules(t *testing.T) {
	base, err := os.MkdirTemp(sharedDir, "kernel-")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(base, "kernel")
	version := unpackKernel(t, root)
	t.Run("dependencies", func(t *testing.T) { testKernelDependencies(t, root, version) })
	t.Run("selection", func(t *testing.T) { testKernelSelection(t, base, root, version) })
	t.Run("settings", func(t *testing.T) { testKernelSettings(t, base, root, version) })
	t.Run("firmware", func(t *testing.T) { testKernelFirmware(t, root, version) })
}

// selectModules selects modules of a kernel by patterns.
func selectModules(t *testing.T, root, version string, patterns ...string) kernel.Selection {
	t.Helper()
	sel, err := kernel.Select(t.Context(), root, kernel.Kernel{Version: version}, kernel.Settings{Modules: patterns})
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

// testKernelDependencies compares what modules need with what modprobe would load.
func testKernelDependencies(t *testing.T, root, version string) {
	all := selectModules(t, root, version, "*").Modules
	if len(all) < 3000 {
		t.Fatalf("%s has %d modules", version, len(all))
	}
	dir := "usr/lib/modules/" + version
	soft := softModules(t, filepath.Join(root, dir))
	var sample, script []string
	for i := 7; i < len(all); i += len(all) / 25 {
		sample = append(sample, all[i])
		script = append(script, fmt.Sprintf("echo; modprobe --dirname=%s --set-version=%s --ignore-install --show-depends %s", root, version, moduleName(all[i])))
	}
	loads := strings.Split(must(t, reference(root, "bash", "-ec", strings.Join(script, "\n"))), "\n\n")
	if len(loads) != len(sample) {
		t.Fatalf("modprobe told about %d modules of %d", len(loads), len(sample))
	}
	exact := 0
	for i, name := range sample {
		var want []string
		for line := range strings.Lines(loads[i]) {
			if file, ok := strings.CutPrefix(strings.TrimSpace(line), "insmod "); ok {
				// modprobe goes through the link /lib.
				want = append(want, "usr/"+strings.TrimPrefix(strings.TrimPrefix(file, root+"/"), "usr/"))
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)
		stem, _, _ := strings.Cut(strings.TrimPrefix(name, dir+"/"), ".ko")
		got := selectModules(t, root, version, "/"+stem).Modules
		// Soft and weak dependencies are followed further than modprobe follows them.
		if slices.ContainsFunc(got, func(m string) bool { return soft[moduleName(m)] }) {
			got = slices.DeleteFunc(got, func(m string) bool { return !slices.Contains(want, m) })
		} else {
			exact++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if exact < len(sample)/2 {
		t.Errorf("only %d of %d modules have no soft dependencies", exact, len(sample))
	}
}

// softModules returns the modules of a kernel's directory that have soft or weak dependencies.
func softModules(t *testing.T, dir string) map[string]bool {
	t.Helper()
	soft := map[string]bool{}
	for _, name := range []string{"modules.softdep", "modules.weakdep"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] != "#" {
				soft[moduleName(fields[1])] = true
			}
		}
	}
	return soft
}

// moduleName is what the kernel calls a module file.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// testKernelFirmware has all the firmware there that modules ask for, and more, and selects theirs.
func testKernelFirmware(t *testing.T, root, version string) {
	const pattern = "/drivers/net/ethernet/"
	args := []string{"modinfo", "--field=firmware"}
	for _, m := range selectModules(t, root, version, pattern).Modules {
		args = append(args, filepath.Join(root, m))
	}
	var want []string
	for _, name := range strings.Fields(must(t, reference(root, args...))) {
		file := "usr/lib/firmware/" + name
		want = append(want, file)
		writeFile(t, filepath.Join(root, file), []byte(name), 0o644)
		writeFile(t, filepath.Join(root, file+".other"), nil, 0o644)
	}
	if len(want) < 20 {
		t.Fatalf("modinfo knows only of %q", want)
	}
	slices.Sort(want)
	if diff := cmp.Diff(slices.Compact(want), selectModules(t, root, version, pattern).Firmware); diff != "" {
		t.Error(diff)
	}
}

// kernelImage makes a tree for the reference in the working directory: some modules, none of which has a soft
// dependency, because the reference does not follow those; firmware for two of them; and the image's own kmod, which
// the reference runs.
const kernelImage = `
	root=$1 version=$2 modules=usr/lib/modules/$2
	mkdir -p tree/usr/bin tree/usr/lib tree/usr/lib64 tree/etc tree/var tree/boot
	ln -s usr/bin tree/bin
	ln -s usr/bin tree/sbin
	ln -s bin tree/usr/sbin
	ln -s usr/lib tree/lib
	ln -s usr/lib64 tree/lib64
	cp /usr/bin/kmod tree/usr/bin
	for tool in depmod modinfo modprobe; do ln -s kmod tree/usr/bin/$tool; done
	cp --parents --dereference $(ldd /usr/bin/kmod | grep -o '/[^ ]*') /usr/lib/x86_64-linux-gnu/liblzma.so.5 tree
	printf 'ID=debian\nVERSION_ID=13\n' >tree/usr/lib/os-release
	(cd "$root"; find $modules/modules.{builtin,builtin.modinfo,order} $modules/kernel/drivers/net/{phy,ethernet/broadcom} \
		$modules/kernel/drivers/cdrom $modules/kernel/drivers/block -type f | cpio --create --quiet --format=newc) |
		(cd tree; cpio --extract --quiet --make-directories --preserve-modification-time)
	echo kernel >tree/boot/vmlinuz-$version
	mkdir -p tree/usr/lib/firmware/{tigon,bnx2,spare,intel-ucode}
	touch tree/usr/lib/firmware/{tigon/tg3.bin,tigon/tg3_tso.bin.zst,tigon/none.bin,bnx2/bnx2-mips-09-6.2.1b.fw,spare/a.bin,spare/b.bin,intel-ucode/06-55-07}
	ln -s a.bin tree/usr/lib/firmware/spare/c.bin`

// testKernelSelection has the reference build an image and an initrd with a part of the modules, and does the same.
func testKernelSelection(t *testing.T, base, full, version string) {
	image := kernel.Settings{
		Modules:  []string{"ethernet/broadcom/t*", "bnx2", "/drivers/cdrom/", "block/", "-/kernel/drivers/block/*/*", "-br[c-e]"},
		Firmware: []string{"spare/c.*", "none.bin", "-tigon/none*"},
	}
	initrd := kernel.Settings{Modules: []string{"*", "-block/*", "-bnx?"}, Firmware: image.Firmware}
	dir := filepath.Join(base, "image")
	writeFile(t, filepath.Join(dir, "mkosi.conf"), fmt.Appendf(nil, `[Distribution]
Distribution=custom

[Output]
Format=directory
Output=theirs
SplitArtifacts=kernel-modules-initrd

[Content]
BaseTrees=tree
Bootable=yes
Bootloader=none
Initrds=
KernelModules=%s
KernelInitrdModules=%s
FirmwareFiles=%s
`, strings.Join(image.Modules, ","), strings.Join(initrd.Modules, ","), strings.Join(image.Firmware, ",")), 0o644)
	must(t, reference(base, "bash", "-ec", "cd image\n"+kernelImage+"\nmkosi --force build", "_", full, version))

	ours, theirs := filepath.Join(dir, "tree"), filepath.Join(dir, "theirs")
	before := kernelFiles(t, ours)
	if made, err := kernel.GatherImages(t.Context(), ours); err != nil || len(made) != 1 {
		t.Fatalf("gathered the kernels %q (%v)", made, err)
	}
	done, err := kernel.FilterTree(t.Context(), ours, image)
	if err != nil {
		t.Fatal(err)
	}
	after := kernelFiles(t, ours)
	if diff := cmp.Diff(kernelFiles(t, theirs), after); diff != "" {
		t.Errorf("in the image: %s", diff)
	}
	if done.Modules < 10 || len(before)-len(after)+1 != done.Modules+done.Firmware {
		t.Errorf("of %d files %d are left, of which %d are modules and %d firmware", len(before), len(after), done.Modules, done.Firmware)
	}

	kernels, err := kernel.Find(theirs)
	if err != nil || len(kernels) != 1 || kernels[0].Version != version {
		t.Fatalf("the image has the kernels %v (%v)", kernels, err)
	}
	sel, err := kernel.Select(t.Context(), theirs, kernels[0], initrd)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := kernel.WriteModulesInitrd(t.Context(), &got, theirs, kernels[0], sel, time.Time{}); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(theirs + ".kernel-modules-initrd")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("in the initrd: %s", cmp.Diff(cpioNames(t, want), cpioNames(t, got.Bytes())))
	}
}

// kernelFiles lists the modules and firmware in a tree, without what depmod writes.
func kernelFiles(t *testing.T, root string) []string {
	t.Helper()
	var files []string
	for _, dir := range []string{"usr/lib/modules", "usr/lib/firmware"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), "modules.") {
				files = append(files, strings.TrimPrefix(name, root+"/"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// cpioNames lists what is in an archive.
func cpioNames(t *testing.T, b []byte) []string {
	t.Helper()
	var names []string
	r := archive.NewCPIOReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %o %d %d %v", h.Name, h.Mode, h.Links, h.Size, h.ModTime))
	}
}
