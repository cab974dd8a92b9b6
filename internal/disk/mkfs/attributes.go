package mkfs

import (
	"context"

	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// topAttributes are the versions from which on programs keep the extended
// attributes of the top folder.
var topAttributes = map[string]need{
	repart.FormatBtrfs: {minimum: btrfsTopXattrs},
	repart.FormatXFS:   {minimum: xfsPopulate},
}

// KeepsTopAttributes reports whether the program that makes file systems of a
// format keeps the extended attributes of the top folder. Those that are only
// good to have can be left out then. The error is as that of [Plan].
func KeepsTopAttributes(ctx context.Context, format string, run program.RunFunc) (bool, error) {
	if format == repart.FormatF2FS {
		return false, nil
	}
	need, ok := topAttributes[format]
	if !ok {
		return true, nil
	}
	j := &job{Options: Options{Format: format, Run: run}}
	v, err := j.version(ctx, tools[format][0])
	return !v.Less(need.minimum), err
}
