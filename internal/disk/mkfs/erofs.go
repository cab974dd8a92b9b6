package mkfs

import (
	"context"
	"fmt"
	"os"

	"github.com/mkosi-go/mkosi/internal/disk/program"
)

// erofsMaker makes an erofs from a folder. The stream that newer versions read
// is copied to a temporary file by the program, so it would save nothing.
type erofsMaker struct {
	*job
	// named says that levels are given by name.
	named bool
}

func (m *erofsMaker) fixed() bool { return true }

func (m *erofsMaker) prepare(ctx context.Context) (int64, error) {
	v, err := m.version(ctx, mkfsErofs)
	if err != nil {
		return 0, err
	}
	m.named = !v.Less(program.Version{1, 8})
	for i := range m.tree {
		e := &m.tree[i]
		if e.Mtime < 0 {
			return 0, fmt.Errorf("/%s is from before 1970, which %s does not understand", e.Path, mkfsErofs.name)
		}
		if e.Mtime == m.BuildTime && e.MtimeNsec > 0 {
			m.BuildTime++ // or the program would drop the nanoseconds
		}
	}
	return 0, nil
}

func (m *erofsMaker) make(ctx context.Context, f *os.File) error {
	top, err := m.stage(ctx, nil)
	if err != nil {
		return err
	}
	argv := []string{mkfsErofs.name, "-U", m.UUID.String(), "--quiet"}
	if m.Compression != "" {
		z := "-z" + m.Compression
		if m.CompressionLevel != "" {
			z += ","
			if m.named {
				z += "level="
			}
			z += m.CompressionLevel
		}
		argv = append(argv, z)
	}
	argv = append(append(argv, f.Name(), top), m.ExtraOptions...)
	return m.run(ctx, program.Command{Args: argv})
}
