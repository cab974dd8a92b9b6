package kernel

import (
	"path"
	"strings"

	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// FindPrebuilt returns the kernels of the tree at root for which the distribution
// has built a unified kernel image, the newest first: it is a file with a name
// like vmlinuz-virt.efi in the kernel's directory below usr/lib/modules, and the
// Image of the kernel. There may be no other image. Of several, the first one by
// name counts. A tree without any is no error.
func FindPrebuilt(root string) ([]Kernel, error) { return find(root, (*rootDir).prebuilt) }

// prebuilt returns the path of the first unified kernel image in the directory of a
// kernel, or "".
func (t *rootDir) prebuilt(dir string) (string, error) {
	entries, err := t.readDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		name := path.Join(dir, e.name)
		if strings.HasPrefix(e.name, "vmlinuz") && strings.HasSuffix(e.name, ".efi") && t.isUKI(name) {
			return name, nil
		}
	}
	return "", nil
}

// isUKI reports whether a file is a unified kernel image: a program for firmware
// with a kernel and an os-release file inside. What cannot be read is none.
func (t *rootDir) isUKI(name string) bool {
	f, err := tree.OpenRegularIn(t.fd, name)
	if err != nil {
		return false
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return false
	}
	program, err := pe.Parse(f, fi.Size())
	if err != nil {
		return false
	}
	_, kernel := program.Section(".linux")
	_, release := program.Section(".osrel")
	return kernel && release
}
