package output

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// split writes what SplitArtifacts= names beside the output, but for partitions. What an image does not have is left
// out: it may have no verity, no definitions, no kernel.
func (w *packer) split(ctx context.Context) error {
	for i, a := range w.Image.SplitArtifacts {
		if slices.Contains(w.Image.SplitArtifacts[:i], a) {
			continue // lists of several assignments are joined
		}
		var err error
		switch a {
		case config.ArtifactRoothash:
			err = w.splitRootHash()
		case config.ArtifactRepartDefinitions:
			err = w.splitDefinitions()
		case config.ArtifactOSRelease:
			err = w.splitOSRelease()
		case config.ArtifactTar:
			err = w.splitTar(ctx)
		}
		if err != nil {
			return fmt.Errorf("writing what SplitArtifacts=%s asks for: %w", a, err)
		}
	}
	return nil
}

func (w *packer) splitRootHash() error {
	hash := w.RootHash()
	if hash == nil {
		return nil
	}
	return w.splitFile("roothash", []byte(hex.EncodeToString(hash)))
}

// splitFile writes a small file beside the output.
func (w *packer) splitFile(suffix string, content []byte) error {
	path, err := w.place(w.Image.SplitName(suffix))
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// maxOSRelease is more than any os-release(5) file has, in bytes.
const maxOSRelease = 1 << 20

// splitOSRelease copies the tree's os-release(5). An extension extends a system of which the tree holds only a copy.
func (w *packer) splitOSRelease() error {
	if w.Image.Format == config.FormatSysext || w.Image.Format == config.FormatConfext {
		return nil
	}
	b, err := w.osRelease()
	if err != nil || b == nil {
		return err
	}
	return w.splitFile("osrelease", b)
}

// osRelease returns the tree's os-release(5), nil if there is none.
func (w *packer) osRelease() ([]byte, error) {
	root, err := unix.Open(w.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: w.Root, Err: err}
	}
	defer unix.Close(root)
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		b, err := tree.ReadFileIn(root, name, maxOSRelease)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("in the image: %w", err)
		}
		return b, nil
	}
	return nil, nil
}

// splitTar archives the tree. The whole file is compressed, whatever is of the main output.
func (w *packer) splitTar(ctx context.Context) error {
	name := w.Image.SplitName("tar")
	if ext := w.Image.CompressOutput.Extension(); ext != "" {
		name += "." + ext
	}
	if slices.Contains(w.Names, name) {
		return nil // it is the main output
	}
	path, err := w.place(name)
	if err != nil {
		return err
	}
	return w.create(path, w.Image.CompressOutput, func(f io.Writer) error { return archive.WriteTar(ctx, f, w.Root) })
}

// splitDefinitions copies the definition files that were used, with the directories that they are in.
func (w *packer) splitDefinitions() error {
	if w.definitions == nil {
		return nil
	}
	dir, err := w.place(w.Image.SplitName("repart.d"))
	if err != nil {
		return err
	}
	return fs.WalkDir(w.definitions, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		info, err := fs.Stat(w.definitions, name) // of what a link points to
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Mkdir(target, 0o755)
		case !info.Mode().IsRegular():
			return nil
		}
		b, err := fs.ReadFile(w.definitions, name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o644)
	})
}

// splitPartitions copies the partitions of an image to files of their own.
func (w *packer) splitPartitions(ctx context.Context, image string) (err error) {
	if !slices.Contains(w.Image.SplitArtifacts, config.ArtifactPartitions) || w.Image.Format == config.FormatESP {
		return nil
	}
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, p := range w.Partitions {
		if p.SplitName == "" || p.Deferred {
			continue
		}
		size, err := splitSize(f, &p)
		if err != nil {
			return fmt.Errorf("splitting off %s: %w", p.File, err)
		}
		name := splitName(w.Image, p.SplitName)
		if ext := w.compression().Extension(); ext != "" {
			name += "." + ext
		}
		path, err := w.place(name)
		if err == nil {
			err = w.copySection(ctx, path, f, p.Offset, size)
		}
		if err != nil {
			return fmt.Errorf("splitting off %s as %s: %w", p.File, name, err)
		}
	}
	return nil
}

// splitName is the name of the file that a partition is split off to, before compression.
func splitName(img *config.Image, suffix string) string {
	if name, ok := strings.CutSuffix(img.UncompressedName(), ".raw"); ok {
		return name + "." + suffix + ".raw"
	}
	return img.UncompressedName() + "." + suffix
}

// splitSize is how much of a partition is split off: all, but of a signature without the zeros that fill its partition.
func splitSize(f *os.File, p *disk.Partition) (int64, error) {
	if !strings.HasSuffix(p.Type.Name, "-verity-sig") {
		return p.Size, nil
	}
	const maxSignature = 1 << 20
	if p.Size > maxSignature {
		return p.Size, nil
	}
	b := make([]byte, p.Size)
	if _, err := f.ReadAt(b, p.Offset); err != nil {
		return 0, err
	}
	return int64(len(strings.TrimRight(string(b), "\x00"))), nil
}

// SplitNames lists the names of what Write splits off of an image, as far as they are known before it is built.
func SplitNames(img *config.Image) []string {
	var names []string
	for _, suffix := range []string{"roothash", "repart.d", "osrelease", "efi", "vmlinuz", "initrd", "kernel-modules-initrd", "pcrs"} {
		names = append(names, img.SplitName(suffix))
	}
	add := func(name string) {
		names = append(names, name)
		if ext := img.CompressOutput.Extension(); ext != "" {
			names = append(names, name+"."+ext)
		}
	}
	add(img.SplitName("tar"))
	defs, _ := Definitions(img) // nothing was made of those that cannot be read
	for i, d := range defs {
		suffix, err := repart.ExpandSplitName(d.SplitName, repart.FinishedPartition{Type: d.Type, Number: i + 1})
		if err == nil && suffix != "" && !strings.Contains(d.SplitName, "%U") {
			add(splitName(img, suffix))
		}
	}
	return names
}
