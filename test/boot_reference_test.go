//go:build integration

package test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// prebuiltUKI is where distributions put a unified kernel image that they have built.
const prebuiltUKI = "usr/lib/modules/6.1.0-1-amd64/vmlinuz-virt.efi"

// loaderBase makes a tree with all that is looked at to make an image bootable, as small as it can be.
func loaderBase(t *testing.T, dir string) {
	t.Helper()
	for _, sub := range []string{"boot", "efi", "dev", "proc", "sys", "run", "tmp", "var", "etc/kernel"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// There are no modules to index.
	source := filepath.Join(t.TempDir(), "depmod.go")
	writeFile(t, source, []byte("package main\n\nfunc main() {}\n"), 0o644)
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "usr/bin/depmod"), source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	must(t, cmd)
	writeFile(t, filepath.Join(dir, "usr/lib/os-release"), []byte("ID=tiny\nNAME=\"Tiny\"\nPRETTY_NAME=\"Tiny 1\"\n"), 0o644)
	writeFile(t, filepath.Join(dir, "usr/lib/modules/6.1.0-1-amd64/modules.order"), nil, 0o644)
	for _, name := range []string{"linuxx64.efi.stub", "addonx64.efi.stub", "systemd-bootx64.efi"} {
		b, err := os.ReadFile(filepath.Join(referenceRoot(), efiDir, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, efiDir, name), b, 0o644)
		if name == "systemd-bootx64.efi" {
			// A program for firmware like a kernel.
			writeFile(t, filepath.Join(dir, "usr/lib/modules/6.1.0-1-amd64/vmlinuz"), b, 0o644)
			writeFile(t, filepath.Join(dir, efiDir, name+".signed"), b, 0o644)
		}
	}
	writeFile(t, filepath.Join(dir, "usr/share/initrd"), []byte("an initrd"), 0o644)
	must(t, reference(dir, "ukify", "build", "--linux=usr/lib/modules/6.1.0-1-amd64/vmlinuz", "--initrd=usr/share/initrd", "--cmdline=prebuilt",
		"--os-release=@usr/lib/os-release", "--stub="+efiDir+"/linuxx64.efi.stub", "--output="+prebuiltUKI))
}

// bootVariants are ways to make the tree bootable, as options.
var bootVariants = map[string]string{
	"plain":       "",
	"auto":        "--bootable=auto",
	"no":          "--bootable=no",
	"none":        "--bootloader=none",
	"as-loader":   "--bootloader=uki",
	"type1":       "--unified-kernel-images=none",
	"no-initrd":   "--initrd=",
	"no-modules":  "--kernel-modules-initrd=no",
	"named":       "--unified-kernel-image-format=x&e-&k&&",
	"signed":      "--secure-boot=yes --secure-boot-auto-enroll=yes",
	"pcrs":        "--split-artifacts=pcrs --secure-boot=yes --sign-expected-pcr=no",
	"profiles":    "--uki-profile=emergency.conf",
	"tree":        "--devicetrees=one.dtb --kernel-modules-initrd=no --splash=/usr/share/splash.bmp",
	"trees":       "--devicetrees=vendor/* --kernel-modules-initrd=no --split-artifacts=uki,pcrs --sign-expected-pcr=no",
	"no-tree":     "--devicetrees=one.dtb,two.dtb --unified-kernel-images=none",
	"uki":         "--format=uki --output-extension=efi",
	"prebuilt":    "--bootloader=systemd-boot-signed --secure-boot=yes --secure-boot-auto-enroll=no",
	"prebuilt-as": "--bootloader=uki-signed",
	"prebuilt-no": "--bootloader=systemd-boot-signed --remove-files=/" + prebuiltUKI,
	"signed-own":  "--bootloader=uki-signed --unified-kernel-images=unsigned --secure-boot=yes",
	"esp":         "--format=esp",
	"addon":       "--format=addon --bootable=no",
	"cpio":        "--format=cpio --bootable=auto",
	"tar-split":   "--format=tar",
	"without":     "--remove-files=" + "/" + efiDir,
	"without-all": "--bootable=auto --remove-files=/usr/lib/systemd --remove-files=/usr/lib/modules",
}

// sameUKI are the variants in which a unified kernel image is made of the same parts.
var sameUKI = []string{"no-modules", "tree", "trees"}

// addUKIParts adds what a unified kernel image may have beside a kernel and initrds.
func addUKIParts(t *testing.T, base string) {
	t.Helper()
	for name, text := range map[string]string{
		"usr/lib/modules/6.1.0-1-amd64/dtb/vendor/one.dtb": "devicetree one",
		"usr/lib/modules/6.1.0-1-amd64/dtb/vendor/two.dtb": "devicetree two",
		"usr/lib/systemd/boot/hwids/x64/laptop.json":       `{"type": "devicetree", "name": "Laptop", "compatible": "example,laptop", "hwids": ["5dc05bf4-01f6-4089-b464-a08c47ea9295"]}`,
		"usr/share/splash.bmp":                             "BM picture",
	} {
		writeFile(t, filepath.Join(base, name), []byte(text), 0o644)
	}
}

// Boot loaders, kernels and what belongs to them lie where the reference puts them, whatever the settings, and what it
// refuses is refused. The names of all files are compared, and the content of those that hold no signature; where all that
// is measured is the same, the policies for it too.
func TestBootFilesLikeReference(t *testing.T) {
	dir, err := os.MkdirTemp(sharedDir, "boot-")
	if err != nil {
		t.Fatal(err)
	}
	loaderBase(t, filepath.Join(dir, "base"))
	addUKIParts(t, filepath.Join(dir, "base"))
	writeFile(t, filepath.Join(dir, "initrd.img"), []byte("an initrd"), 0o644)
	writeFile(t, filepath.Join(dir, "emergency.conf"), []byte("[UKIProfile]\nProfile=ID=emergency\n        TITLE=Emergency boot\nCmdline=systemd.unit=emergency.target\n"), 0o644)
	writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte(`[Distribution]
Distribution=debian
Release=trixie
[Output]
Format=directory
Output=image
Seed=9d0e6a3c-5c1b-4ee4-9d0c-95a0d3e0c7a1
ManifestFormat=
SplitArtifacts=uki,kernel,initrd,kernel-modules-initrd
[Content]
BaseTrees=base
Bootable=yes
Initrds=initrd.img
KernelCommandLine=quiet splash
SourceDateEpoch=1700000000
`), 0o644)
	must(t, mkosi(dir, "genkey"))

	// There are no packages: as another distribution, the reference does not ask the repositories of this one.
	var commands []string
	for name, options := range bootVariants {
		commands = append(commands, fmt.Sprintf("mkdir -p theirs-%s && { mkosi -d custom -O theirs-%s %s --workspace-dir=/tmp -f build >theirs-%s.log 2>&1 || rm -r theirs-%s; }", name, name, quoteWords(options), name, name))
	}
	slices.Sort(commands)
	// It takes the descriptions of machines of its own system.
	const hwids = "/usr/lib/systemd/boot/hwids"
	inReference(t, dir, "mount -t tmpfs tmpfs "+hwids+" && cp -r base"+hwids+"/x64 "+hwids, commands)
	for name, options := range bootVariants {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"-O", "ours-" + name}, strings.Fields(options)...)
			r := run(t, mkosi(dir, append(args, "-f", "build")...))
			theirs := filepath.Join(dir, "theirs-"+name)
			if _, err := os.Stat(theirs); errors.Is(err, fs.ErrNotExist) {
				if r.code == 0 {
					log, _ := os.ReadFile(theirs + ".log")
					t.Fatalf("the reference refuses it:\n%s", log)
				}
				return
			}
			if r.code != 0 {
				t.Fatalf("exit code %d\n%s", r.code, r.stderr)
			}
			ours := filepath.Join(dir, "ours-"+name)
			made := bootFiles(t, ours)
			if name == "esp" {
				// A difference on purpose: the unified kernel image of an ESP can be split off like any other.
				if made["image.efi"] == "" {
					t.Error("no unified kernel image was split off of the ESP")
				}
				delete(made, "image.efi")
			}
			if diff := cmp.Diff(bootFiles(t, theirs), made); diff != "" {
				t.Errorf("theirs and ours differ:\n%s", diff)
			}
			if slices.Contains(sameUKI, name) {
				compareUKI(t, filepath.Join(theirs, "image.efi"), filepath.Join(ours, "image.efi"))
			}
			if name == "trees" {
				comparePolicies(t, readFile(t, filepath.Join(theirs, "image.pcrs")), readFile(t, filepath.Join(ours, "image.pcrs")))
			}
		})
	}
}

// quoteWords quotes the words of a command line for a shell.
func quoteWords(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		words[i] = "'" + w + "'"
	}
	return strings.Join(words, " ")
}

// bootFiles lists the outputs and what lies on the boot partition of a tree among them, with the content of texts and the
// section names of programs.
func bootFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		inTree := strings.HasPrefix(name, "image/")
		if d.IsDir() || inTree && !strings.HasPrefix(name, "image/boot/") && !strings.HasPrefix(name, "image/efi/") {
			return nil
		}
		files[name] = ""
		if !d.Type().IsRegular() {
			return nil
		}
		switch filepath.Ext(name) {
		case ".conf", ".srel":
			b, err := os.ReadFile(path)
			files[name] = string(b)
			return err
		case ".efi", ".EFI":
			out := must(t, exec.Command("objdump", "--section-headers", path))
			for line := range strings.Lines(out) {
				if f := strings.Fields(line); len(f) == 7 && strings.HasPrefix(f[1], ".") {
					files[name] += f[1] + " "
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
