// Package kernel knows what belongs to the Linux kernels of an OS tree: their
// images, modules, firmware, microcode and devicetrees. It finds them, selects
// what settings ask for together with all that this needs, and writes the part
// of an initrd that belongs to one kernel.
//
// Everything in a tree is foreign: links are resolved inside its root, and files
// are parsed with limits.
package kernel

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/version"
)

// modulesDir is where every kernel of a tree has a directory called like its
// version.
const modulesDir = "usr/lib/modules"

// Kernel is one kernel of a tree.
type Kernel struct {
	// Version is the kernel's release, as uname(1) has it, such as
	// "6.12.117+deb13-amd64": printable ASCII without a space or slash.
	Version string
	// Image is the path of its image, relative to the root of the tree.
	Image string
}

// Dir returns the directory of the kernel's modules, relative to the root.
func (k Kernel) Dir() string { return path.Join(modulesDir, k.Version) }

// imageNames are what a kernel's image is called in its directory, the first one
// found counts.
var imageNames = []string{"vmlinuz", "vmlinux"}

// Find returns the kernels of the tree at root that have an image in their
// directory below usr/lib/modules, the newest first. [GatherImages] puts those
// there that packages have elsewhere. A tree without kernels is no error.
func Find(root string) ([]Kernel, error) { return find(root, (*rootDir).image) }

// image returns the path of the first image in the directory of a kernel, or "".
func (t *rootDir) image(dir string) (string, error) {
	for _, name := range imageNames {
		image := path.Join(dir, name)
		if ok, err := t.isFile(image); err != nil || ok {
			return image, err
		}
	}
	return "", nil
}

// find returns the kernels for which image finds a path, which is not "", in their
// directory. The newest is first.
func find(root string, image func(t *rootDir, dir string) (string, error)) ([]Kernel, error) {
	t, versions, err := openVersions(root)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var kernels []Kernel
	for _, v := range versions {
		k := Kernel{Version: v}
		if k.Image, err = image(t, k.Dir()); err != nil {
			return nil, err
		}
		if k.Image != "" {
			kernels = append(kernels, k)
		}
	}
	return kernels, nil
}

// Versions returns the names of the directories below usr/lib/modules of the
// tree at root that belong to a kernel, with or without an image: those whose
// modules have to be indexed. The newest is first.
func Versions(root string) ([]string, error) {
	t, versions, err := openVersions(root)
	if err != nil {
		return nil, err
	}
	return versions, t.Close()
}

// openVersions opens a tree and lists its kernels, see Versions. The caller
// closes the tree.
func openVersions(root string) (*rootDir, []string, error) {
	t, err := openTree(root)
	if err != nil {
		return nil, nil, err
	}
	versions, err := t.versions()
	if err != nil {
		return nil, nil, errors.Join(err, t.Close())
	}
	return t, versions, nil
}

func (t *rootDir) versions() ([]string, error) {
	entries, err := t.readDir(modulesDir)
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, e := range entries {
		if e.kind == unix.S_IFDIR && validVersion(e.name) {
			versions = append(versions, e.name)
		}
	}
	slices.SortFunc(versions, func(a, b string) int {
		return cmp.Or(version.Compare(b, a), strings.Compare(b, a))
	})
	return versions, nil
}

// validVersion reports whether a name can be a kernel's release. It becomes part
// of file names, boot loader entries and PE sections, each a line.
func validVersion(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' })
}

// GatherImages gives each kernel of the tree at root whose package puts its
// image elsewhere a copy in its directory below usr/lib/modules, where [Find]
// looks: Debian has it as /boot/vmlinuz-VERSION, or vmlinux where it is not
// compressed. Mode and times are those of the original. It returns the paths that
// it made.
func GatherImages(ctx context.Context, root string) ([]string, error) {
	t, versions, err := openVersions(root)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var made []string
	for _, v := range versions {
		for _, name := range imageNames {
			to := path.Join(modulesDir, v, name)
			ok, err := t.gather("boot/"+name+"-"+v, to)
			if err != nil {
				return made, err
			}
			if !ok {
				continue
			}
			if err := t.copyFile(ctx, "boot/"+name+"-"+v, to); err != nil {
				return made, err
			}
			made = append(made, to)
		}
	}
	return made, nil
}

// gather reports whether there is a file that has to be copied.
func (t *rootDir) gather(from, to string) (bool, error) {
	there, err := t.exists(to)
	if err != nil || there {
		return false, err
	}
	return t.isFile(from)
}
