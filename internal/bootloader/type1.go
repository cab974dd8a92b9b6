package bootloader

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"
)

// Initrd is an initial RAM disk outside of the tree.
type Initrd struct {
	// Path is that of the file.
	Path string
	// Name is the name that it gets on the boot partition.
	Name string
}

// Kernel is a kernel of the tree with what it is started with.
type Kernel struct {
	// Version is that of the kernel, such as "6.12.1-amd64".
	Version string
	// Image is the kernel's path in the tree, such as "usr/lib/modules/6.12.1-amd64/vmlinuz".
	Image string
	// Options is the command line.
	Options string
	// Initrds are loaded after those that all kernels have, in this order.
	Initrds []Initrd
	// Devicetree is the path of a devicetree in the tree, or "", DevicetreeName its path below the directory that it was
	// found in, such as "vendor/board.dtb".
	Devicetree, DevicetreeName string
}

// Entry is something that a boot loader offers to start: a unified kernel image, or else a kernel with what belongs to
// it. Files have the paths that they have on the boot partition, such as "/debian/6.12.1-amd64/vmlinuz".
type Entry struct {
	// ID is the name of the entry.
	ID string
	// UKI is a unified kernel image; with one, the fields that follow are empty.
	UKI string
	// Title and Version are shown in menus.
	Title, Version string
	// Linux is the kernel and Options its command line.
	Linux, Options string
	// Initrds are loaded in this order.
	Initrds []string
	// Devicetree is a devicetree, or "".
	Devicetree string
}

// maxKernel is more than any kernel has, in bytes.
const maxKernel = 1 << 30

// InstallKernels copies kernels with what they are started with into /boot of the tree, signed with Sign, and writes an
// entry of type 1 of the Boot Loader Specification for each. All lies below a directory with the name of the entry token,
// see [EntryToken], what belongs to one kernel in a directory with its version. shared are initial RAM disks of all
// kernels, which are loaded first. The entries are returned in the order of the kernels.
func InstallKernels(ctx context.Context, o Options, shared []Initrd, kernels []Kernel) ([]Entry, error) {
	i, err := openImage(o.Root)
	if err != nil {
		return nil, err
	}
	defer i.close()
	token, _, err := i.entryToken()
	if err != nil {
		return nil, err
	}
	var common []string
	if len(kernels) > 0 {
		if common, err = i.copyInitrds(ctx, "/"+token, shared); err != nil {
			return nil, err
		}
	}
	var entries []Entry
	versions := Names{}
	for _, k := range kernels {
		if other, free := versions.Take(k.Version, k.Version); !free {
			return nil, fmt.Errorf("the kernels %s and %s would have the same name on the boot partition: remove one", other, k.Version)
		}
		e, err := o.installKernel(ctx, i, token, k)
		if err != nil {
			return nil, fmt.Errorf("installing the kernel %s: %w", k.Version, err)
		}
		e.Initrds = append(common[:len(common):len(common)], e.Initrds...)
		text, err := e.type1()
		if err != nil {
			return nil, fmt.Errorf("installing the kernel %s: %w", k.Version, err)
		}
		if err := i.write("boot/loader/entries/"+e.ID+".conf", []byte(text), 0o600); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// installKernel copies the files of a kernel.
func (o Options) installKernel(ctx context.Context, i *image, token string, k Kernel) (e Entry, err error) {
	if !ValidName(k.Version) || !ValidName(token+"-"+k.Version+".conf") {
		return e, fmt.Errorf("%q cannot be a part of file names on a boot partition", k.Version)
	}
	dir := "/" + token + "/" + k.Version
	e = Entry{
		ID:      token + "-" + k.Version,
		Title:   token + " " + k.Version,
		Version: k.Version,
		Linux:   dir + "/" + path.Base(k.Image),
		Options: k.Options,
	}
	if err := o.install(ctx, i, k.Image, "boot"+e.Linux, maxKernel); err != nil {
		return e, err
	}
	if e.Initrds, err = i.copyInitrds(ctx, dir, k.Initrds); err != nil {
		return e, err
	}
	if k.Devicetree == "" {
		return e, nil
	}
	if !fs.ValidPath(k.DevicetreeName) {
		return e, fmt.Errorf("%q is no path of a devicetree", k.DevicetreeName)
	}
	e.Devicetree = dir + "/" + k.DevicetreeName
	return e, i.copy(ctx, k.Devicetree, "boot"+e.Devicetree)
}

// copyInitrds copies initial RAM disks into a directory of the boot partition and returns their paths there.
func (i *image) copyInitrds(ctx context.Context, dir string, initrds []Initrd) (names []string, err error) {
	taken := Names{}
	for _, initrd := range initrds {
		if !ValidName(initrd.Name) {
			return nil, fmt.Errorf("the initrd %s needs another name: %q cannot be the name of a file on a boot partition", initrd.Path, initrd.Name)
		}
		if other, free := taken.Take(initrd.Name, initrd.Path); !free {
			return nil, fmt.Errorf("the initrds %s and %s would have the same name on the boot partition: rename one", other, initrd.Path)
		}
		name := dir + "/" + initrd.Name
		if err := i.copyOutside(ctx, "an initrd", initrd.Path, "boot"+name, 0o644); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// type1 is the text of an entry of type 1.
func (e Entry) type1() (string, error) {
	var b strings.Builder
	for _, f := range []struct {
		key    string
		values []string
	}{
		{"title", []string{e.Title}},
		{"version", []string{e.Version}},
		{"linux", []string{e.Linux}},
		{"options", []string{e.Options}},
		{"initrd", e.Initrds},
		{"devicetree", []string{e.Devicetree}},
	} {
		for _, value := range f.values {
			if strings.ContainsFunc(value, unicode.IsControl) {
				return "", fmt.Errorf("%q cannot be %s of a boot loader entry, which is one line of text", value, f.key)
			}
			if value != "" || f.key == "options" {
				fmt.Fprintf(&b, "%s %s\n", f.key, value)
			}
		}
	}
	return b.String(), nil
}
