//go:build integration

package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/kernel"
)

// kernelSettings are ways to say which modules and firmware are wanted, as profiles: with the old spellings, and by what this
// machine has loaded. A kernel that is built without modules does not tell, and either program refuses to build those images.
var kernelSettings = map[string]string{
	"include": "KernelModulesInclude=ethernet/broadcom/t,^drivers/block/.*loop\nKernelModulesInclude=cdrom\n" +
		"KernelModulesInitrdInclude=broadcom/t\nFirmwareInclude=spare/a\n",
	"exclude": "KernelModulesExclude=^drivers/net/phy,loop\nKernelModulesInitrdExclude=cdrom\nFirmwareExclude=tigon\n",
	"both": "KernelModulesInclude=broadcom/(tg3|bnx2.ko),cdrom\nKernelModulesExclude=broadcom,block\n" +
		"KernelModulesInitrdInclude=broadcom/t\nKernelModulesInitrdExclude=broadcom,block\n" +
		"FirmwareInclude=spare\nFirmwareExclude=tigon/.*zst,spare/a\n",
	"host":        "KernelModules=host,loop\n",
	"host-option": "KernelModulesInclude=loop,cdrom\nKernelModulesIncludeHost=yes\nKernelModulesInitrdInclude=loop\nKernelModulesInitrdIncludeHost=yes\n",
}

// testKernelSettings has the reference build an image with each of the settings, and does the same.
func testKernelSettings(t *testing.T, base, full, version string) {
	dir := filepath.Join(base, "settings")
	writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte(`[Distribution]
Distribution=debian
Release=trixie
[Output]
Format=directory
Output=image
ManifestFormat=
SplitArtifacts=kernel-modules-initrd
[Content]
BaseTrees=tree
Bootable=yes
Bootloader=none
UnifiedKernelImages=none
Initrds=
MicrocodeHost=yes
SourceDateEpoch=`+testEpoch+"\n"), 0o644)
	must(t, reference(base, "bash", "-ec", "cd settings\n"+kernelImage, "_", full, version))
	writeMicrocode(t, filepath.Join(dir, "tree/usr/lib/firmware"))
	all := kernelFiles(t, filepath.Join(dir, "tree"))

	names := slices.Sorted(maps.Keys(kernelSettings))
	var commands []string
	for _, name := range names {
		writeFile(t, filepath.Join(dir, "mkosi.profiles", name+".conf"), []byte("[Content]\n"+kernelSettings[name]), 0o644)
		commands = append(commands, fmt.Sprintf("mkdir -p theirs-%[1]s && { mkosi -d custom --profile %[1]s -O theirs-%[1]s --workspace-dir=/tmp -f build >theirs-%[1]s.log 2>&1 || rm -r theirs-%[1]s; }", name))
	}
	inReference(t, dir, "true", commands)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			r := run(t, mkosi(dir, "--profile", name, "-O", "ours-"+name, "-f", "build"))
			theirs, ours := filepath.Join(dir, "theirs-"+name), filepath.Join(dir, "ours-"+name)
			if _, err := os.Stat(theirs); errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(name, "host") {
				oneMessage(t, r, exitFailed, "modules that are loaded on this machine")
				return
			}
			if r.code != 0 {
				t.Fatalf("exit code %d\n%s", r.code, r.stderr)
			}
			made := selectedFiles(t, ours)
			if diff := cmp.Diff(selectedFiles(t, theirs), made); diff != "" {
				t.Errorf("theirs and ours differ:\n%s", diff)
			}
			modules, inInitrd := countModules(made["image"]), countModules(made["image.kernel-modules-initrd"])
			if inInitrd == 0 || inInitrd >= modules || modules >= countModules(all) || len(made["microcode.initrd"]) != 4 {
				t.Errorf("of %d modules, %d are in the image and %d in the initrd; microcode: %q", countModules(all), modules, inInitrd, made["microcode.initrd"])
			}
		})
	}
}

func countModules(files []string) (n int) {
	for _, name := range files {
		if strings.Contains(name, ".ko") {
			n++
		}
	}
	return n
}

// writeMicrocode writes microcode for many processors, that of this machine among them.
func writeMicrocode(t *testing.T, firmware string) {
	t.Helper()
	names := []string{"intel-ucode/06-55-07"}
	for family := 0x15; family <= 0x1a; family++ {
		names = append(names, fmt.Sprintf("amd-ucode/microcode_amd_fam%xh.bin", family))
	}
	if cpu, ok := kernel.ParseCPUInfo(string(readFile(t, "/proc/cpuinfo"))); ok && cpu.Vendor == "GenuineIntel" {
		names = append(names, fmt.Sprintf("intel-ucode/%02x-%02x-%02x", cpu.Family, cpu.Model, cpu.Stepping))
	}
	for _, name := range names {
		writeFile(t, filepath.Join(firmware, name), []byte(name), 0o644)
	}
}

// selectedFiles lists the modules and firmware in an image and in the initrd with its modules, and what is in the initrd
// with microcode.
func selectedFiles(t *testing.T, output string) (list map[string][]string) {
	t.Helper()
	list = map[string][]string{"image": kernelFiles(t, filepath.Join(output, "image"))}
	initrds, err := filepath.Glob(filepath.Join(output, "image/boot/debian/microcode.initrd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(initrds, filepath.Join(output, "image.kernel-modules-initrd")) {
		z, _, err := archive.NewReader(bytes.NewReader(readFile(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		r := archive.NewCPIOReader(z)
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text := h.Name
			if strings.Contains(h.Name, "modules.") {
				// Which indexes there are and what they have is up to depmod.
				continue
			}
			if strings.HasSuffix(name, "microcode.initrd") {
				b, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				text += ": " + string(b)
			}
			list[filepath.Base(name)] = append(list[filepath.Base(name)], text)
		}
		z.Close()
	}
	return list
}
