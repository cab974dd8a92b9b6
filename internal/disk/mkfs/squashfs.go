package mkfs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/program"
)

// squashfsMaker makes a squashfs from a stream. The format has neither
// nanoseconds nor access lists, and its times go from 1970 to 2106: these are
// left out, as systemd-repart does.
type squashfsMaker struct {
	*job
	// folder says that mksquashfs is too old to get all from a stream.
	folder bool
}

// streamed is since when mksquashfs takes the top folder's times and extended
// attributes, and sockets, on its command line.
var streamed = program.Version{4, 6}

func (m *squashfsMaker) fixed() bool { return true }

func (m *squashfsMaker) prepare(ctx context.Context) (int64, error) {
	v, err := m.version(ctx, mksquashfs)
	if err != nil {
		return 0, err
	}
	m.folder = v.Less(streamed)
	m.BuildTime = min(m.BuildTime, math.MaxUint32)
	_, err = m.compression()
	return 0, err
}

// compression is the part of the command line that says how to compress.
func (m *squashfsMaker) compression() ([]string, error) {
	if m.Compression == "" {
		return nil, nil
	}
	argv := []string{"-comp", m.Compression}
	if m.CompressionLevel == "" {
		return argv, nil
	}
	switch m.Compression {
	case "gzip", "lzo", "zstd":
		return append(argv, "-Xcompression-level", m.CompressionLevel), nil
	}
	return nil, fmt.Errorf("setting CompressionLevel=%[2]s: Compression=%[1]s has no levels in a squashfs", m.Compression, m.CompressionLevel)
}

func (m *squashfsMaker) make(ctx context.Context, f *os.File) error {
	compression, err := m.compression()
	if err != nil {
		return err
	}
	common := append([]string{"-noappend", "-no-progress"}, compression...)
	if m.folder {
		top, err := m.stage(ctx, nil)
		if err != nil {
			return err
		}
		argv := append([]string{mksquashfs.name, top, f.Name()}, common...)
		return m.run(ctx, program.Command{Args: append(argv, m.ExtraOptions...)})
	}
	argv := append([]string{mksquashfs.name, "-", f.Name(), "-tar"}, common...)
	argv = append(append(argv, m.pseudo()...), m.ExtraOptions...)
	return m.feed(ctx, argv)
}

// feed runs a program that reads the tree as a tar archive.
func (m *squashfsMaker) feed(ctx context.Context, argv []string) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := writeTar(ctx, w, m.tree)
		w.CloseWithError(err)
		written <- err
	}()
	err := m.run(ctx, program.Command{Args: argv, Stdin: r})
	r.CloseWithError(errStopped)
	// A program that fails stops reading; whoever fails first is the cause.
	if writeErr := <-written; writeErr != nil && !errors.Is(writeErr, errStopped) {
		return writeErr
	}
	return err
}

var errStopped = errors.New("the program has stopped reading")

// pseudo is the part of the command line that says what a tar archive cannot:
// everything about the top folder, and sockets.
func (m *squashfsMaker) pseudo() []string {
	top := &m.tree[0]
	argv := []string{
		"-root-mode", fmt.Sprintf("%#o", top.Mode&0o7777),
		"-root-uid", fmt.Sprint(top.UID), "-root-gid", fmt.Sprint(top.GID),
		"-root-time", fmt.Sprint(squashfsTime(top)),
	}
	for _, x := range top.Xattrs {
		if squashfsXattr(x.Name) {
			argv = append(argv, "-p", fmt.Sprintf("/ x %s=0x%s", x.Name, hex.EncodeToString(x.Value)))
		}
	}
	for i := range m.tree {
		if e := &m.tree[i]; e.Type() == unix.S_IFSOCK && !e.HardLink {
			argv = append(argv, "-p", fmt.Sprintf("%s I %d %#o %d %d s",
				pseudoName(e.Path), squashfsTime(e), e.Mode&0o7777, e.UID, e.GID))
		}
	}
	return argv
}

// pseudoName quotes a path for a definition of mksquashfs.
func pseudoName(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

// squashfsTime is the time of an entry as far as the format has it.
func squashfsTime(e *content.Entry) int64 { return min(max(e.Mtime, 0), math.MaxUint32) }

// squashfsXattr reports whether the format has attributes of that name.
func squashfsXattr(name string) bool {
	for _, prefix := range []string{"user.", "trusted.", "security."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
