package inspect

import (
	"context"
	"fmt"
	"io"

	"github.com/mkosi-go/mkosi/internal/disk/btrfs"
	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/erofs"
	"github.com/mkosi-go/mkosi/internal/disk/ext4"
	"github.com/mkosi-go/mkosi/internal/disk/fat"
	"github.com/mkosi-go/mkosi/internal/disk/squashfs"
	"github.com/mkosi-go/mkosi/internal/disk/xfs"
)

// driver reads a format of file systems.
type driver struct {
	// describe reads what a file system says of itself.
	describe func(r io.ReaderAt, size int64) (*FileSystem, error)
	// read reads its files, which can be opened as long as r is open; nil if
	// they cannot be read.
	read func(ctx context.Context, r io.ReaderAt, size int64) (content.Tree, error)
}

// driverOf returns what reads a format.
func driverOf(f Format) driver {
	switch f {
	case FormatExt:
		return driver{describeExt, ext4.Read}
	case FormatErofs:
		return driver{describeErofs, erofs.Read}
	case FormatSquashfs:
		return driver{describeSquashfs, squashfs.Read}
	case FormatBtrfs:
		return driver{describeBtrfs, btrfs.Read}
	case FormatXFS:
		return driver{describeXFS, xfs.Read}
	case FormatVFAT:
		return driver{describeVFAT, fat.Read}
	case FormatF2FS:
		return driver{describe: describeF2FS}
	case FormatISO:
		return driver{describe: describeISO}
	}
	return driver{}
}

// readTree reads the files of a file system.
func readTree(ctx context.Context, r io.ReaderAt, size int64, format Format) (content.Tree, error) {
	read := driverOf(format).read
	if read == nil {
		return nil, fmt.Errorf("the files of %s are not read, only what it says of itself", format)
	}
	return read(ctx, r, size)
}

func describeExt(r io.ReaderAt, size int64) (*FileSystem, error) {
	in, err := ext4.ReadInfo(r, size)
	if err != nil {
		return nil, err
	}
	return &FileSystem{
		Kind: in.Kind, Label: in.Label, UUID: in.UUID.String(), Size: in.Size, Free: &in.Free, BlockSize: in.BlockSize, Features: in.Features,
	}, nil
}

func describeErofs(r io.ReaderAt, size int64) (*FileSystem, error) {
	in, err := erofs.ReadInfo(r, size)
	if err != nil {
		return nil, err
	}
	return &FileSystem{
		Label: in.Label, UUID: in.UUID.String(), Size: in.Size, BlockSize: int64(in.BlockSize), Compression: in.Algorithms, Features: in.Features,
	}, nil
}

func describeSquashfs(r io.ReaderAt, size int64) (*FileSystem, error) {
	in, err := squashfs.ReadInfo(r, size)
	if err != nil {
		return nil, err
	}
	return &FileSystem{Size: in.Size, BlockSize: in.BlockSize, Compression: []string{in.Compression}, Features: in.Features}, nil
}

func describeBtrfs(r io.ReaderAt, size int64) (*FileSystem, error) {
	in, err := btrfs.ReadInfo(r, size)
	if err != nil {
		return nil, err
	}
	free := in.Size - in.Used
	return &FileSystem{Label: in.Label, UUID: in.UUID.String(), Size: in.Size, Free: &free, BlockSize: in.SectorSize, Features: in.Features}, nil
}

func describeXFS(r io.ReaderAt, size int64) (*FileSystem, error) {
	in, err := xfs.ReadInfo(r, size)
	if err != nil {
		return nil, err
	}
	return &FileSystem{Label: in.Label, UUID: in.UUID.String(), Size: in.Size, Free: &in.Free, BlockSize: in.BlockSize, Features: in.Features}, nil
}

func describeVFAT(r io.ReaderAt, size int64) (*FileSystem, error) {
	in, err := fat.ReadInfo(r, size)
	if err != nil {
		return nil, err
	}
	return &FileSystem{
		Kind: fmt.Sprintf("FAT%d", in.Bits), Label: in.Label, UUID: fmt.Sprintf("%04X-%04X", in.VolumeID>>16, in.VolumeID&0xffff),
		Size: in.Size, BlockSize: in.ClusterSize,
	}, nil
}
