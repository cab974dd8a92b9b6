package mkfs

import (
	"context"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// f2fsMaker makes an f2fs with two programs: one makes it, the other fills it.
// The latter drops nanoseconds; what else it drops, without a word, is refused.
type f2fsMaker struct{ *job }

const (
	// minF2FS is the size of the smallest f2fs that is made, and maxF2FSLabel
	// how many bytes a label has room for.
	minF2FS      = 64 << 20
	maxF2FSLabel = 255
)

func (m *f2fsMaker) fixed() bool { return false }

func (m *f2fsMaker) prepare(ctx context.Context) (int64, error) {
	for _, t := range tools[repart.FormatF2FS] {
		if _, err := m.version(ctx, t); err != nil {
			return 0, err
		}
	}
	if top := &m.tree[0]; top.Mode&0o7777 != 0o755 {
		return 0, fmt.Errorf("the top folder of an f2fs has the mode 0755, not %#o", top.Mode&0o7777)
	}
	for i := range m.tree {
		if err := checkF2FS(&m.tree[i]); err != nil {
			return 0, fmt.Errorf("/%s: %w", m.tree[i].Path, err)
		}
	}
	if m.Minimize == repart.MinimizeGuess {
		return roundUp(minF2FS+2*used(m.tree, 4096), 4096), nil
	}
	return minF2FS, nil
}

// checkF2FS refuses what sload.f2fs does not copy, or not whole.
func checkF2FS(e *content.Entry) error {
	switch {
	case e.Type() != unix.S_IFDIR && e.Type() != unix.S_IFREG && e.Type() != unix.S_IFLNK:
		return fmt.Errorf("%s leaves out device nodes, pipes and sockets", sloadF2FS.name)
	case e.UID > math.MaxUint16 || e.GID > math.MaxUint16:
		return fmt.Errorf("%s cuts the owner %d:%d to 16 bits", sloadF2FS.name, e.UID, e.GID)
	case len(e.Xattrs) > 0:
		return fmt.Errorf("%s drops the extended attribute %s (AddValidateFS=no if it is one of user.validatefs)", sloadF2FS.name, e.Xattrs[0].Name)
	}
	return nil
}

func (m *f2fsMaker) make(ctx context.Context, f *os.File) error {
	top := &m.tree[0]
	argv := []string{
		mkfsF2FS.name, "-q", "-l", cut(m.Label, maxF2FSLabel), "-U", m.UUID.String(), "-w", fmt.Sprint(m.SectorSize),
		"-t", "0", "-r", "-R", fmt.Sprintf("%d:%d", top.UID, top.GID), "-T", fmt.Sprint(max(1, top.Mtime)), f.Name(),
	}
	if err := m.run(ctx, program.Command{Args: append(argv, m.ExtraOptions...)}); err != nil {
		return err
	}
	if len(m.tree) == 1 {
		return nil
	}
	folder, err := m.stage(ctx, nil)
	if err != nil {
		return err
	}
	return m.run(ctx, program.Command{Args: []string{sloadF2FS.name, "-P", "-f", folder, f.Name()}})
}
