package kernel

import (
	"context"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// devicetreeExtension is that of a compiled devicetree; overlays have another one.
const devicetreeExtension = ".dtb"

// devicetreeDirs are where distributions have the devicetrees of a kernel, in the
// order in which they become part of an image.
func devicetreeDirs(version string) []string {
	return []string{
		path.Join(firmwareDir, version, "device-tree"),
		"usr/lib/linux-image-" + version,
		path.Join(modulesDir, version, "dtb"),
	}
}

// CheckDevicetrees returns an error about a pattern of Devicetrees= that is none.
func CheckDevicetrees(texts []string) error {
	if _, err := parsePatterns(texts); err != nil {
		return fmt.Errorf("reading Devicetrees=: %w", err)
	}
	return nil
}

// Devicetrees returns the paths, relative to the root of the tree, of a kernel's
// devicetrees that patterns of Devicetrees= match: those of a file name, or those
// with a slash of the last components of a path; a star matches slashes, too. A
// file's extension .dtb is part of its name. None is no error.
//
// A unified kernel image may have several, of which the machine's is chosen when
// it starts; a boot loader entry of type 1 has one.
func Devicetrees(ctx context.Context, root string, k Kernel, texts []string) ([]string, error) {
	list, err := parsePatterns(texts)
	if err != nil {
		return nil, fmt.Errorf("reading Devicetrees=: %w", err)
	}
	t, err := openTree(root)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var found []string
	for _, dir := range devicetreeDirs(k.Version) {
		if dir, err = t.realDir(dir); err != nil {
			return nil, err
		}
		err := t.walk(ctx, dir, func(name string, kind uint32) error {
			if kind == unix.S_IFDIR || !strings.HasSuffix(name, devicetreeExtension) {
				return nil
			}
			rel := strings.TrimPrefix(name, dir+"/")
			if in, _ := list.decide(candidate{normalize(rel), rel}); !in {
				return nil
			}
			ok, err := t.isFile(name)
			if ok {
				found = append(found, name)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("looking for devicetrees of kernel %s: %w", k.Version, err)
		}
	}
	return found, nil
}
