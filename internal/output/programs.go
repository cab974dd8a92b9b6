package output

import (
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// Program is a program of this machine that makes a file system.
type Program struct {
	// Name is what it is called, Package the distribution package that has it.
	Name, Package string
	// Purpose is what it is needed for, such as "Format=btrfs".
	Purpose string
}

// makers are the programs for the file systems that are not written natively.
var makers = map[string]Program{
	repart.FormatExt4:     {Name: "mke2fs", Package: "e2fsprogs"},
	repart.FormatBtrfs:    {Name: "mkfs.btrfs", Package: "btrfs-progs"},
	repart.FormatXFS:      {Name: "mkfs.xfs", Package: "xfsprogs"},
	repart.FormatF2FS:     {Name: "mkfs.f2fs", Package: "f2fs-tools"},
	repart.FormatSquashfs: {Name: "mksquashfs", Package: "squashfs-tools"},
}

// Programs lists the programs without which an image cannot be written, in the order of its partitions. An image whose
// definitions cannot be read, see [Check], needs none.
func Programs(img *config.Image) []Program {
	if !hasDefinitions(img) {
		return nil
	}
	plan := &imagePlan{}
	if err := plan.find(img); err != nil {
		return nil
	}
	defs, err := repart.ParseDefinitions(plan.files, string(img.Architecture))
	if err != nil {
		return nil
	}
	env, err := img.ReadEnvironment()
	if err != nil {
		return nil
	}
	var list []Program
	for _, d := range defs {
		p, ok := makers[formatOf(d, env)]
		if !ok {
			continue
		}
		p.Purpose = "Format=" + formatOf(d, env)
		list = append(list, p)
	}
	return list
}

// formatOf is the file system that a partition gets, which variables can change for the root and /usr partitions, see
// systemd-repart(8).
func formatOf(d repart.Definition, env map[string]string) string {
	if d.Format == "" || d.Format == repart.FormatEmpty || d.Format == repart.FormatSwap {
		return d.Format
	}
	if d.Type.Role != repart.RoleRoot && d.Type.Role != repart.RoleUsr {
		return d.Format
	}
	for _, name := range []string{"SYSTEMD_REPART_OVERRIDE_FSTYPE_" + strings.ToUpper(string(d.Type.Role)), "SYSTEMD_REPART_OVERRIDE_FSTYPE"} {
		if f := env[name]; f != "" {
			return f
		}
	}
	return d.Format
}
