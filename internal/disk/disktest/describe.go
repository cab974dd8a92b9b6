package disktest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// Fails is the stored side of a set that systemd-repart(8) refuses.
const Fails = "fails\n"

// Describe reads the partition table of an image and lists all that is in it,
// with digests of its bytes at either end of the image.
func Describe(image string) (text string, err error) {
	f, err := os.Open(image)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	found, err := gpt.Read(f, fi.Size(), 0)
	if err != nil {
		return "", err
	}
	t := found.Table
	if err := errors.Join(found.Primary, found.Backup, found.BootRecord.Check(t.Sectors)); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "disk %s\nsize %d\nsectors %d of %d\nusable %d-%d\n", t.UUID, fi.Size(), t.Sectors, t.SectorSize, t.FirstUsable, t.LastUsable)
	for _, p := range t.Partitions {
		fmt.Fprintf(&b, "%d %d-%d flags %#x %s %s %q\n", p.Number, p.First, p.Last, p.Flags, p.Type, p.UUID, p.Name)
	}
	tail := int64(t.TailSectors()) * int64(t.SectorSize)
	for _, part := range []struct {
		name         string
		offset, size int64
	}{
		{"primary", 0, tail + int64(t.SectorSize)},
		{"backup", int64(t.Sectors)*int64(t.SectorSize) - tail, tail},
	} {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, part.offset, part.size)); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s %x\n", part.name, h.Sum(nil))
	}
	return b.String(), nil
}
