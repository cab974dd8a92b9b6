package kernel

import (
	"os"
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
func FindPrebuilt(root string) ([]Kernel, error) {
	t, versions, err := openVersions(root)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var kernels []Kernel
	for _, v := range versions {
		dir := path.Join(modulesDir, v)
		entries, err := t.readDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := path.Join(dir, e.name)
			if strings.HasPrefix(e.name, "vmlinuz") && strings.HasSuffix(e.name, ".efi") && t.isUKI(name) {
				kernels = append(kernels, Kernel{Version: v, Image: name})
				break
			}
		}
	}
	return kernels, nil
}

// isUKI reports whether a file is a unified kernel image: a program for firmware
// with a kernel and an os-release file inside. What cannot be read is none.
func (t *rootDir) isUKI(name string) bool {
	f, err := tree.OpenRegularIn(t.fd, name)
	if err != nil {
		return false
	}
	defer f.Close()
	return isUKI(f)
}

func isUKI(f *os.File) bool {
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
