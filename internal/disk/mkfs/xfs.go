package mkfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// xfsMaker makes an xfs.
type xfsMaker struct{ *job }

// xfsPopulate is since when mkfs.xfs fills a file system from a folder.
var xfsPopulate = program.Version{6, 17}

const (
	// minXFS is the smallest xfs that mkfs.xfs makes, and maxXFSLabel how many
	// bytes a label has room for.
	minXFS      = 300 << 20
	maxXFSLabel = 12
	// maxXFSLink is how long the target of a symbolic link can be.
	maxXFSLink = 1024
)

func (m *xfsMaker) fixed() bool { return false }

func (m *xfsMaker) prepare(ctx context.Context) (int64, error) {
	v, err := m.version(ctx, mkfsXFS)
	if err != nil {
		return 0, err
	}
	if !m.empty() {
		if err := require(mkfsXFS, v, need{xfsPopulate, "an xfs with something in it (AddValidateFS= adds attributes)"}); err != nil {
			return 0, err
		}
	}
	for i := range m.tree {
		if err := checkXFS(&m.tree[i]); err != nil {
			return 0, fmt.Errorf("/%s: %w", m.tree[i].Path, err)
		}
	}
	if m.Minimize == repart.MinimizeGuess {
		// systemd-repart takes twice what it finds in use.
		return max(minXFS, roundUp(2*used(m.tree, 512), 4096)), nil
	}
	return minXFS, nil
}

// empty says that there is nothing that mkfs.xfs itself has to put in.
func (m *xfsMaker) empty() bool { return len(m.tree) == 1 && len(m.tree[0].Xattrs) == 0 }

// checkXFS refuses what mkfs.xfs cannot copy.
func checkXFS(e *content.Entry) error {
	switch e.Type() {
	case unix.S_IFCHR, unix.S_IFBLK:
		return fmt.Errorf("%s would open this device to copy it, so device nodes cannot be put into an xfs", mkfsXFS.name)
	case unix.S_IFLNK:
		if len(e.Target) > maxXFSLink {
			return fmt.Errorf("a target of %d bytes is too long for a symbolic link in an xfs", len(e.Target))
		}
	}
	for _, x := range e.Xattrs {
		if len(x.Value) == 0 {
			return fmt.Errorf("%s loses the extended attribute %s, which has no value", mkfsXFS.name, x.Name)
		}
	}
	return nil
}

func (m *xfsMaker) make(ctx context.Context, f *os.File) error {
	argv := []string{
		mkfsXFS.name, "-q", "-L", cut(m.Label, maxXFSLabel),
		"-m", "uuid=" + m.UUID.String(), "-m", "reflink=1",
	}
	if !m.empty() {
		top, err := m.stage(ctx, xfsXattr)
		if err != nil {
			return err
		}
		argv = append(argv, "-p", top)
	}
	argv = append(argv, "-s", fmt.Sprintf("size=%d", m.SectorSize), f.Name())
	// The identifiers of files and the log are random without the variable.
	c := program.Command{Args: append(argv, m.ExtraOptions...), Env: []string{"DETERMINISTIC_SEED=1"}}
	if err := m.run(ctx, c); err != nil {
		return err
	}
	if err := repairXFS(f, &m.tree[0]); err != nil {
		return fmt.Errorf("repairing what %s has made: %w", mkfsXFS.name, err)
	}
	return nil
}

// xfsXattr shows an access list to mkfs.xfs in the form in which xfs stores it,
// since it would make an attribute of a user of it otherwise.
func xfsXattr(x content.Xattr) (content.Xattr, error) {
	name := map[string]string{
		"system.posix_acl_access":  "trusted.SGI_ACL_FILE",
		"system.posix_acl_default": "trusted.SGI_ACL_DEFAULT",
	}[x.Name]
	if name == "" {
		return x, nil
	}
	const version, header, entry = 2, 4, 8
	v := x.Value
	if len(v) < header || (len(v)-header)%entry != 0 || binary.LittleEndian.Uint32(v) != version {
		return x, fmt.Errorf("extended attribute %s: not an access list", x.Name)
	}
	out := binary.BigEndian.AppendUint32(nil, uint32((len(v)-header)/entry))
	for e := v[header:]; len(e) > 0; e = e[entry:] {
		out = binary.BigEndian.AppendUint32(out, uint32(binary.LittleEndian.Uint16(e)))
		out = binary.BigEndian.AppendUint32(out, binary.LittleEndian.Uint32(e[4:]))
		out = binary.BigEndian.AppendUint16(out, binary.LittleEndian.Uint16(e[2:]))
		out = binary.BigEndian.AppendUint16(out, 0)
	}
	return content.Xattr{Name: name, Value: out}, nil
}
