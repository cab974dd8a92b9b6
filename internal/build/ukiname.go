package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/mkosi-go/mkosi/internal/bootloader"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// ukiPaths are where the unified kernel images of the kernels go in the tree. A boot partition has to be able to hold them
// all.
func (b *bootFiles) ukiPaths() ([]string, error) {
	paths := make([]string, len(b.kernels))
	if b.startsUKI() || b.Format == config.FormatUKI {
		return paths, nil // there is one, and it has a name of its own
	}
	tries, err := b.tries()
	if err != nil {
		return nil, err
	}
	taken := bootloader.Names{}
	for i, k := range b.kernels {
		paths[i] = b.ukiPath(k, b.token, b.hash, tries)
		name := path.Base(paths[i])
		if !bootloader.ValidName(name) {
			return nil, fmt.Errorf("the unified kernel image of kernel %s cannot be called %q on a boot partition: change UnifiedKernelImageFormat=", k.Version, name)
		}
		if other, free := taken.Take(name, k.Version); !free {
			return nil, fmt.Errorf("the unified kernel images of the kernels %s and %s would both be called %s: put &k, the kernel's version, into UnifiedKernelImageFormat=", other, k.Version, name)
		}
	}
	return paths, nil
}

// tries is how often an image is tried to boot before it counts as bad, "" if nothing says; see the automatic boot
// assessment of systemd.
func (m *image) tries() (string, error) {
	root, err := os.Open(m.root)
	if err != nil {
		return "", err
	}
	defer root.Close()
	b, err := tree.ReadFileIn(int(root.Fd()), "etc/kernel/tries", 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading how often to try to boot: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if _, err := strconv.ParseUint(text, 10, 32); err != nil {
		return "", fmt.Errorf("/etc/kernel/tries of the image says how often to try to boot, and %q is no number", text)
	}
	return text, nil
}
