package mkfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// Program is a program that a file system is made with.
type Program struct {
	// Name is the program's, Package that of the Debian package with it.
	Name, Package string
	// Purpose is the setting that needs it.
	Purpose string
}

// tool is a program and how it is asked for its version.
type tool struct{ name, pkg, option string }

var (
	mke2fs     = tool{"mke2fs", "e2fsprogs", "-V"}
	mkfsBtrfs  = tool{"mkfs.btrfs", "btrfs-progs", "--version"}
	mkfsXFS    = tool{"mkfs.xfs", "xfsprogs", "-V"}
	mkfsF2FS   = tool{"mkfs.f2fs", "f2fs-tools", "-V"}
	sloadF2FS  = tool{"sload.f2fs", "f2fs-tools", "-V"}
	mksquashfs = tool{"mksquashfs", "squashfs-tools", "-version"}
	mkfsErofs  = tool{"mkfs.erofs", "erofs-utils", "-V"}
)

// tools are the programs that file systems of a format are made with. Those of
// erofs are for what the native writer does not have.
var tools = map[string][]tool{
	repart.FormatExt4:     {mke2fs},
	repart.FormatBtrfs:    {mkfsBtrfs},
	repart.FormatXFS:      {mkfsXFS},
	repart.FormatF2FS:     {mkfsF2FS, sloadF2FS},
	repart.FormatSquashfs: {mksquashfs},
	repart.FormatErofs:    {mkfsErofs},
}

// Programs lists the programs without which the file system of a definition
// cannot be made. It can be asked before a build starts.
func Programs(def *repart.Definition) []Program {
	if def.Format == repart.FormatErofs && NativeErofs(def.Compression) {
		return nil
	}
	var list []Program
	for _, t := range tools[def.Format] {
		list = append(list, Program{Name: t.name, Package: t.pkg, Purpose: "Format=" + def.Format})
	}
	return list
}

// NativeErofs reports whether an erofs with a value of Compression= is written
// natively. With options of the user's own it never is.
func NativeErofs(compression string) bool {
	switch compression {
	case "", "lz4", "zstd":
		return true
	}
	return false
}

// A need is a version that something asked for takes.
type need struct {
	minimum program.Version
	purpose string
}

// version asks a program for its version.
func (j *job) version(ctx context.Context, t tool) (program.Version, error) {
	v, err := program.QueryVersion(ctx, j.Run, t.name, t.option)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &program.MissingError{Program: t.name, Package: t.pkg, Purpose: "Format=" + j.Format}
	}
	return v, err
}

// require returns an error when a version does not do for one of the needs.
func require(t tool, v program.Version, needs ...need) error {
	for _, n := range needs {
		if v.Less(n.minimum) {
			return &program.TooOldError{Program: t.name, Package: t.pkg, Version: v, Minimum: n.minimum, Purpose: n.purpose}
		}
	}
	return nil
}

// run runs a program that makes or fills a file system.
func (j *job) run(ctx context.Context, c program.Command) error {
	// Both are the time of the file system itself: no file is newer, so that
	// none is cut by it. The second is for xfs only.
	c.Env = append(c.Env, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", max(1, j.BuildTime)))
	c.TrustedXattrs = j.trusted
	if err := j.Run(ctx, c); err != nil {
		return fmt.Errorf("making the file system: %w", err)
	}
	return nil
}

// cut cuts a label to size bytes, without cutting a character in two.
func cut(label string, size int) string {
	for len(label) > size {
		r := []rune(label)
		label = string(r[:len(r)-1])
	}
	return label
}
