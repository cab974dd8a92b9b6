package inspect

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/erofs"
	"github.com/mkosi-go/mkosi/internal/disk/ext4"
	"github.com/mkosi-go/mkosi/internal/disk/fat"
	"github.com/mkosi-go/mkosi/internal/disk/squashfs"
	"github.com/mkosi-go/mkosi/internal/disk/xfs"
)

// describeFileSystem reads what a file system says of itself, and which format
// that makes it: an ext4 may be an ext2.
func describeFileSystem(r io.ReaderAt, size int64, format Format) (*FileSystem, Format, error) {
	switch format {
	case FormatExt:
		in, err := ext4.ReadInfo(r, size)
		if err != nil {
			return nil, format, err
		}
		return &FileSystem{Label: in.Label, UUID: in.UUID.String(), Size: in.Size, Free: &in.Free, BlockSize: in.BlockSize, Features: in.Features}, Format(in.Kind), nil
	case FormatErofs:
		in, err := erofs.ReadInfo(r, size)
		if err != nil {
			return nil, format, err
		}
		return &FileSystem{
			Label: in.Label, UUID: in.UUID.String(), Size: in.Size, BlockSize: int64(in.BlockSize),
			Compression: strings.Join(in.Algorithms, ", "), Features: in.Features,
		}, format, nil
	case FormatVFAT:
		in, err := fat.ReadInfo(r, size)
		if err != nil {
			return nil, format, err
		}
		return &FileSystem{
			Label: in.Label, UUID: fmt.Sprintf("%04X-%04X", in.VolumeID>>16, in.VolumeID&0xffff), Size: in.Size, BlockSize: in.ClusterSize,
			Features: []string{fmt.Sprintf("FAT%d", in.Bits)},
		}, format, nil
	case FormatXFS:
		in, err := xfs.ReadInfo(r, size)
		if err != nil {
			return nil, format, err
		}
		return &FileSystem{Label: in.Label, UUID: in.UUID.String(), Size: in.Size, Free: &in.Free, BlockSize: in.BlockSize, Features: in.Features}, format, nil
	case FormatSquashfs:
		in, err := squashfs.ReadInfo(r, size)
		if err != nil {
			return nil, format, err
		}
		return &FileSystem{Size: in.Size, BlockSize: in.BlockSize, Compression: in.Compression, Features: in.Features}, format, nil
	}
	return nil, format, nil
}

// readTree reads the files of a file system. They can be opened as long as r
// is open.
func readTree(ctx context.Context, r io.ReaderAt, size int64, format Format) (content.Tree, error) {
	switch format {
	case FormatExt:
		return ext4.Read(ctx, r, size)
	case FormatErofs:
		return erofs.Read(ctx, r, size)
	case FormatVFAT:
		return fat.Read(ctx, r, size)
	case FormatSquashfs:
		return squashfs.Read(ctx, r, size)
	case FormatXFS:
		return xfs.Read(ctx, r, size)
	}
	return nil, fmt.Errorf("the files of %s are not read", format)
}
