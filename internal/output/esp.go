package output

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/tree"
)

const (
	// espMinSize is the smallest ESP, in bytes: less than that is not FAT32 with sectors of 4096 bytes.
	espMinSize = 260 << 20
	// espSpare is the room for the file system itself and for what is added later, in bytes.
	espSpare = 10 << 20
	// espUnit is what sizes are rounded up to, in bytes.
	espUnit = 4096
)

// espDirectories are the directories of a tree that an ESP holds, in the order in which they are copied.
var espDirectories = []string{"boot", "efi"}

// writeESP writes a disk image whose only partition is an EFI system partition with what the tree has for the firmware.
func (w *packer) writeESP(ctx context.Context, path string) error {
	if w.Boot != nil {
		if err := w.bootFromTree(ctx); err != nil {
			return err
		}
	}
	plan, err := w.planESP(ctx)
	if err != nil {
		return err
	}
	opts, err := w.diskOptions(ctx, plan)
	if err != nil {
		return err
	}
	return w.finishImage(ctx, plan, path, func(raw string) (*disk.Result, error) {
		opts.Path = raw
		return disk.Build(ctx, opts)
	})
}

// planESP defines the partition, which is as large as its content needs.
func (w *packer) planESP(ctx context.Context) (*imagePlan, error) {
	size := int64(espSpare)
	for _, dir := range espDirectories {
		err := tree.Walk(ctx, filepath.Join(w.Root, dir), func(e *tree.Entry) error {
			if e.IsRegular() {
				size += (e.Stat.Size + espUnit - 1) / espUnit * espUnit
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("measuring what the ESP is to hold: %w", err)
		}
	}
	size = max(size, espMinSize)
	text := "# What the firmware reads: the boot loader and the kernels.\n[Partition]\nType=esp\nFormat=vfat\n"
	for _, dir := range espDirectories {
		text += "CopyFiles=/" + dir + ":/\n"
	}
	text += fmt.Sprintf("SizeMinBytes=%d\nSizeMaxBytes=%d\n", size, size+espUnit)
	dir := filepath.Join(w.TempDir, "esp.repart.d")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "00-esp.conf"), []byte(text), 0o644)); err != nil {
		return nil, fmt.Errorf("defining the ESP: %w", err)
	}
	plan := &imagePlan{files: os.DirFS(dir)}
	var err error
	plan.Definitions, err = repart.ParseDefinitions(plan.files, string(w.Image.Architecture))
	return plan, err
}
