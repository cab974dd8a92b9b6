package bootloader

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// kernelTree is a tree with two kernels, and the initrds of both.
func kernelTree(t *testing.T) (o Options, shared []Initrd, kernels []Kernel) {
	t.Helper()
	root := makeTree(t, map[string]string{
		"etc/os-release":                             "ID=tok\n",
		"usr/lib/modules/2.0/vmlinuz":                "two",
		"usr/lib/modules/2.0/dtb/vendor/board.dtb":   "devicetree",
		"usr/lib/modules/1.0/vmlinux":                "one",
		"usr/lib/modules/1.0/dtb/vendor/unused.dtb":  "unused",
		"usr/lib/modules/1.0/dtb/vendor/another.dtb": "unused",
		"boot/": "",
	})
	outside := makeTree(t, map[string]string{"micro": "microcode", "a.cpio": "a", "two": "modules of two", "one": "modules of one"})
	shared = []Initrd{{outside + "/micro", "microcode.initrd"}, {outside + "/a.cpio", "a.cpio"}}
	kernels = []Kernel{
		{
			Version: "2.0", Image: "usr/lib/modules/2.0/vmlinuz", Options: "root=LABEL=x quiet",
			Initrds:    []Initrd{{outside + "/two", "kernel-modules.initrd"}},
			Devicetree: "usr/lib/modules/2.0/dtb/vendor/board.dtb", DevicetreeName: "vendor/board.dtb",
		},
		{Version: "1.0", Image: "usr/lib/modules/1.0/vmlinux", Initrds: []Initrd{{outside + "/one", "kernel-modules.initrd"}}},
	}
	return Options{Root: root, Architecture: "x64"}, shared, kernels
}

func TestInstallKernels(t *testing.T) {
	o, shared, kernels := kernelTree(t)
	entries, err := InstallKernels(t.Context(), o, shared, kernels)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{
			ID: "tok-2.0", Title: "tok 2.0", Version: "2.0", Linux: "/tok/2.0/vmlinuz", Options: "root=LABEL=x quiet",
			Initrds:    []string{"/tok/microcode.initrd", "/tok/a.cpio", "/tok/2.0/kernel-modules.initrd"},
			Devicetree: "/tok/2.0/vendor/board.dtb",
		},
		{
			ID: "tok-1.0", Title: "tok 1.0", Version: "1.0", Linux: "/tok/1.0/vmlinux",
			Initrds: []string{"/tok/microcode.initrd", "/tok/a.cpio", "/tok/1.0/kernel-modules.initrd"},
		},
	}
	if !reflect.DeepEqual(entries, want) {
		t.Errorf("got %+v", entries)
	}
	files := map[string]string{
		"boot/tok/microcode.initrd":          "microcode",
		"boot/tok/a.cpio":                    "a",
		"boot/tok/2.0/vmlinuz":               "two",
		"boot/tok/2.0/kernel-modules.initrd": "modules of two",
		"boot/tok/2.0/vendor/board.dtb":      "devicetree",
		"boot/tok/1.0/vmlinux":               "one",
		"boot/tok/1.0/kernel-modules.initrd": "modules of one",
		"boot/loader/entries/tok-2.0.conf": "title tok 2.0\nversion 2.0\nlinux /tok/2.0/vmlinuz\noptions root=LABEL=x quiet\n" +
			"initrd /tok/microcode.initrd\ninitrd /tok/a.cpio\ninitrd /tok/2.0/kernel-modules.initrd\ndevicetree /tok/2.0/vendor/board.dtb\n",
		"boot/loader/entries/tok-1.0.conf": "title tok 1.0\nversion 1.0\nlinux /tok/1.0/vmlinux\noptions \n" +
			"initrd /tok/microcode.initrd\ninitrd /tok/a.cpio\ninitrd /tok/1.0/kernel-modules.initrd\n",
	}
	sameFiles(t, readTree(t, o.Root, "boot"), files)

	o.Sign = fakeSign
	if _, err := InstallKernels(t.Context(), o, shared, kernels); err != nil {
		t.Fatal(err)
	}
	files["boot/tok/2.0/vmlinuz"], files["boot/tok/1.0/vmlinux"] = "signed two", "signed one"
	sameFiles(t, readTree(t, o.Root, "boot"), files)
}

func TestInstallKernelsRefuses(t *testing.T) {
	for _, tt := range []struct {
		change func(o *Options, shared []Initrd, kernels []Kernel)
		want   string
	}{
		{func(_ *Options, _ []Initrd, k []Kernel) { k[0].Version = "../x" }, `"../x"`},
		{func(_ *Options, _ []Initrd, k []Kernel) { k[0].Version = strings.Repeat("1", 255) }, "file names on a boot partition"},
		{func(_ *Options, _ []Initrd, k []Kernel) { k[0].Version, k[1].Version = "1.0A", "1.0a" }, "1.0A and 1.0a would have the same name"},
		{func(_ *Options, _ []Initrd, k []Kernel) { k[0].Version = "1.0." }, "file names on a boot partition"},
		{func(_ *Options, _ []Initrd, k []Kernel) { k[1].Options = "a\noptions b" }, "one line"},
		{func(_ *Options, _ []Initrd, k []Kernel) { k[0].Image = "usr/lib/modules/2.0" }, "not a regular file"},
		{func(_ *Options, _ []Initrd, k []Kernel) { k[0].Devicetree = "none.dtb" }, "none.dtb"},
		{func(_ *Options, _ []Initrd, k []Kernel) { k[0].DevicetreeName = "../../x" }, "no path of a devicetree"},
		{func(_ *Options, s []Initrd, _ []Kernel) { s[0].Name = "A.CPIO" }, "the same name"},
		{func(_ *Options, s []Initrd, _ []Kernel) { s[0].Name = "a\nb" }, "another name"},
		{func(_ *Options, s []Initrd, _ []Kernel) { s[0].Path = "/nowhere/initrd" }, "/nowhere/initrd"},
		{func(o *Options, _ []Initrd, _ []Kernel) {
			o.Sign = func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no key") }
		}, "signing /usr/lib/modules/2.0/vmlinuz"},
		{func(o *Options, _ []Initrd, _ []Kernel) { os.Remove(filepath.Join(o.Root, "etc/os-release")) }, "ImageId="},
	} {
		o, shared, kernels := kernelTree(t)
		tt.change(&o, shared, kernels)
		if _, err := InstallKernels(t.Context(), o, shared, kernels); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
