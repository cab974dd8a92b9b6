package disk

import (
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// apiDirectories are folders whose content never belongs into an image.
var apiDirectories = []string{"/proc/", "/sys/", "/dev/", "/tmp/", "/run/", "/var/tmp/"}

// selection is what goes into the partition's file system.
func (b *builder) selection(p *part) content.Selection {
	d := p.def
	s := content.Selection{
		Root:          b.Root,
		Exclude:       slices.Concat(apiDirectories, d.ExcludeFiles),
		ExcludeTarget: d.ExcludeFilesTarget,
		Directories:   d.MakeDirectories,
		Files:         b.generatedFor(d),
		ClampMtime:    b.SourceDateEpoch,
	}
	explicit := map[string]bool{}
	for _, c := range d.CopyFiles {
		s.Copies = append(s.Copies, content.Copy{Source: c.Source, Target: c.Target})
		explicit[c.Source] = true
	}
	for _, l := range d.MakeSymlinks {
		s.Symlinks = append(s.Symlinks, content.Symlink(l))
	}
	if d.Type.Role == repart.RoleRoot && d.Type.IsTree() {
		for _, q := range b.parts {
			for _, dir := range q.def.Type.CoveredDirs() {
				if q.def.File != d.File && q != p.absorbed && !explicit[dir] {
					s.Exclude = append(s.Exclude, dir+"/")
				}
			}
		}
	}
	return s
}

// validateXattrs are the attributes by which systemd-validatefs@.service(8)
// recognizes that a file system is mounted from the partitions that it was
// made for: lists of strings that each end in a zero byte.
func (p *part) validateXattrs() []content.Xattr {
	if on := p.def.AddValidateFS; on != nil && !*on {
		return nil
	}
	members := []*part{p}
	if s := p.group; s != nil {
		members = []*part{s.data, s.hash}
		if s.sig != nil {
			members = append(members, s.sig)
		}
	}
	var labels, types []string
	for _, m := range members {
		labels = append(labels, m.label)
		types = append(types, m.def.Type.UUID.String())
	}
	slices.Sort(labels)
	slices.Sort(types)
	list := func(s []string) []byte { return []byte(strings.Join(s, "\x00") + "\x00") }
	xattrs := []content.Xattr{
		{Name: "user.validatefs.gpt_label", Value: list(labels)},
		{Name: "user.validatefs.gpt_type_uuid", Value: list(types)},
	}
	if dirs := mountPoints(p.def); len(dirs) > 0 {
		xattrs = append(xattrs, content.Xattr{Name: "user.validatefs.mount_point", Value: list(dirs)})
	}
	return xattrs
}

// mountPoints are where a partition is mounted: where the definition says, or
// else where its type says.
func mountPoints(d *repart.Definition) []string {
	var dirs []string
	for _, m := range d.MountPoints {
		dirs = append(dirs, m.Where)
	}
	if dir := d.Type.MountPoint(); len(dirs) == 0 && dir != "" {
		dirs = []string{dir}
	}
	return dirs
}
