package mkfs

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/mkfs/btrfs"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// btrfsMaker makes a btrfs. Every version drops nanoseconds and the numbers of
// device nodes, and those before 6.5.3 what the top folder is like; all that is
// repaired.
type btrfsMaker struct {
	*job
	version program.Version
}

// Versions of mkfs.btrfs, from the changelog of btrfs-progs.
var (
	btrfsTopXattrs  = program.Version{6, 5, 3}
	btrfsDeviceUUID = program.Version{6, 5, 3}
	btrfsNoLinks    = program.Version{6, 10, 1} // hard links were lost from here ...
	btrfsSubvolumes = program.Version{6, 12}    // ... to here
	btrfsCompress   = program.Version{6, 13}
	btrfsInodeFlags = program.Version{6, 15}
)

// maxBtrfsLabel is how many bytes a label has room for.
const maxBtrfsLabel = 255

func (m *btrfsMaker) fixed() bool { return m.Minimize != repart.MinimizeOff }

func (m *btrfsMaker) prepare(ctx context.Context) (int64, error) {
	v, err := m.job.version(ctx, mkfsBtrfs)
	if err != nil {
		return 0, err
	}
	m.version = v
	if err := require(mkfsBtrfs, v, m.needs()...); err != nil {
		return 0, err
	}
	if err := m.addSubvolumes(); err != nil {
		return 0, err
	}
	// A file without a size is made as large as the content needs.
	return 0, nil
}

// needs is what the content and the settings take.
func (m *btrfsMaker) needs() []need {
	var needs []need
	if len(m.tree[0].Xattrs) > 0 {
		needs = append(needs, need{btrfsTopXattrs, "an extended attribute of the top folder of a btrfs (AddValidateFS= sets some)"})
	}
	isLink := func(e content.Entry) bool { return e.HardLink }
	if !m.version.Less(btrfsNoLinks) && slices.ContainsFunc(m.tree, isLink) {
		needs = append(needs, need{btrfsSubvolumes, "a file with several names in a btrfs"})
	}
	if len(m.Subvolumes) > 0 {
		needs = append(needs, need{btrfsSubvolumes, "Subvolumes="})
	}
	if m.Compression != "" {
		needs = append(needs, need{btrfsCompress, "Compression= for a btrfs"})
	}
	for _, s := range m.Subvolumes {
		if s.NoDataCow {
			needs = append(needs, need{btrfsInodeFlags, "nodatacow in Subvolumes="})
		}
	}
	return needs
}

// addSubvolumes adds to the tree the subvolumes that it lacks.
func (m *btrfsMaker) addSubvolumes() error {
	isFolder := map[string]bool{}
	for i := range m.tree {
		isFolder[m.tree[i].Path] = m.tree[i].IsDir()
	}
	have := len(m.tree)
	m.tree = slices.Clip(m.tree)
	isDefault := false
	for _, s := range m.Subvolumes {
		isDefault = isDefault || s.Path == m.DefaultSubvolume
		for p := strings.Trim(s.Path, "/"); ; p = strings.Trim(path.Dir("/"+p), "/") {
			folder, known := isFolder[p]
			if known && !folder {
				return fmt.Errorf("setting Subvolumes=%s: /%s is not a folder", s.Path, p)
			}
			if known {
				break
			}
			isFolder[p] = true
			top := &m.tree[0]
			m.tree = append(m.tree, content.Entry{Path: p, Mode: unix.S_IFDIR | 0o755, Mtime: top.Mtime, MtimeNsec: top.MtimeNsec})
		}
	}
	if m.DefaultSubvolume != "" && !isDefault {
		return fmt.Errorf("setting DefaultSubvolume=%s is none of Subvolumes=", m.DefaultSubvolume)
	}
	if len(m.tree) > have {
		m.tree.Sort()
	}
	return nil
}

func (m *btrfsMaker) make(ctx context.Context, f *os.File) error {
	top, err := m.stage(ctx, nil)
	if err != nil {
		return err
	}
	id := m.UUID.String()
	argv := []string{mkfsBtrfs.name, "-q", "-L", cut(m.Label, maxBtrfsLabel), "-U", id, "-r", top}
	if !m.version.Less(btrfsDeviceUUID) {
		argv = append(argv, "--device-uuid", uuid.NewSHA1(m.UUID, []byte("device")).String())
	}
	if m.Compression != "" {
		c := m.Compression
		if m.CompressionLevel != "" {
			c += ":" + m.CompressionLevel
		}
		argv = append(argv, "--compress", c)
	}
	argv = append(argv, fmt.Sprintf("--sectorsize=%d", max(m.SectorSize, 4096)), f.Name())
	if m.fixed() {
		argv = append(argv, "--shrink")
	}
	argv = append(append(argv, m.subvolumes()...), m.ExtraOptions...)
	if err := m.run(ctx, program.Command{Args: argv}); err != nil {
		return err
	}
	if err := tree.RemoveAll(ctx, top); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := btrfs.Repair(ctx, f, st.Size(), m.tree); err != nil {
		return fmt.Errorf("repairing what %s has made: %w", mkfsBtrfs.name, err)
	}
	return nil
}

// subvolumes is the part of the command line about them.
func (m *btrfsMaker) subvolumes() []string {
	var argv []string
	for _, s := range m.Subvolumes {
		kind := ""
		switch {
		case s.Path == m.DefaultSubvolume && s.ReadOnly:
			kind = "default-ro:"
		case s.Path == m.DefaultSubvolume:
			kind = "default:"
		case s.ReadOnly:
			kind = "ro:"
		}
		argv = append(argv, "--subvol", kind+s.Path)
	}
	for _, s := range m.Subvolumes {
		if s.NoDataCow {
			argv = append(argv, "--inode-flags", "nodatacow:"+s.Path)
		}
	}
	return argv
}
