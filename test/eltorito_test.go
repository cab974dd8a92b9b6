//go:build integration

package test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mkosi-go/mkosi/internal/disk/eltorito"
	"github.com/mkosi-go/mkosi/internal/disk/swap"
)

// What systemd-repart adds to an image for optical discs is what we add to the
// same one, byte for byte, and xorriso finds the EFI system partition there.
func TestElToritoLikeRepart(t *testing.T) {
	for _, tt := range []struct {
		sector                    int
		epoch, esp                int64
		system, volume, publisher string
	}{
		{512, 1760000000, 1 << 20, "LINUX", "DEBIAN 13 INSTALL", "The (first) publisher: a+b, c?"},
		{4096, 0, 6 << 20, "", "", ""},
		{2048, 1708992001, 6 << 20, strings.Repeat("S", 32), strings.Repeat("V", 32), strings.Repeat("P", 128)},
	} {
		dir := t.TempDir()
		definitions := filepath.Join(dir, "repart.d")
		if tt.esp > 1<<20 {
			writeFile(t, filepath.Join(definitions, "10-other.conf"), []byte("[Partition]\nType=linux-generic\nSizeMinBytes=5M\nSizeMaxBytes=5M\n"), 0o644)
		}
		writeFile(t, filepath.Join(definitions, "20-esp.conf"), []byte("[Partition]\nType=esp\nSizeMinBytes=5M\nSizeMaxBytes=5M\n"), 0o644)
		t.Setenv("SOURCE_DATE_EPOCH", fmt.Sprint(tt.epoch))
		with, without := filepath.Join(dir, "with.raw"), filepath.Join(dir, "without.raw")
		diskRepart(t, dir, dir, definitions, without, fmt.Sprint("--sector-size=", tt.sector))
		diskRepart(t, dir, dir, definitions, with, fmt.Sprint("--sector-size=", tt.sector), "--el-torito=yes",
			"--el-torito-system="+tt.system, "--el-torito-volume="+tt.volume, "--el-torito-publisher="+tt.publisher)
		f, err := os.OpenFile(without, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		err = eltorito.Write(f, eltorito.Options{
			System: tt.system, Volume: tt.volume, Publisher: tt.publisher, Application: "SYSTEMD-REPART",
			Time: time.Unix(tt.epoch, 0), ESPOffset: tt.esp, FirstOffset: 1 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := os.ReadFile(with)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := os.ReadFile(without)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(theirs, ours) {
			t.Errorf("sectors of %d bytes: our image and systemd-repart's differ", tt.sector)
		}
		info, err := eltorito.ReadInfo(f, int64(len(ours)))
		if err != nil || info.Offset != tt.esp || !info.EFI || !info.Bootable || info.Volume != tt.volume {
			t.Errorf("%+v, %v", info, err)
		}
		out := must(t, reference(dir, "xorriso", "-indev", "without.raw", "-report_el_torito", "plain"))
		for _, want := range []string{fmt.Sprintf("El Torito boot img : 1 UEFI y none 0x0000 0x00 0 %d ", tt.esp/2048), "El Torito catalog : 19 1 "} {
			if !strings.Contains(strings.Join(strings.Fields(out), " ")+" ", want) {
				t.Errorf("xorriso does not say %q:\n%s", want, out)
			}
		}
	}
}

// Swap space is what mkswap makes, byte for byte, and what it finds too small
// is refused.
func TestSwapLikeMkswap(t *testing.T) {
	dir := t.TempDir()
	id := diskSeed
	labels := []string{"", "swap", "äöüäöüä"}
	sizes := []int64{swap.MinSize - 1, swap.MinSize, swap.MinSize + 1, 5 << 20, 5<<20 + 4096, 3 << 40}
	var commands []string
	name := func(size int64, label int) string { return fmt.Sprintf("swap-%d-%d", size, label) }
	for _, size := range sizes {
		for i, label := range labels {
			result := "test $? = 0"
			if size < swap.MinSize {
				result = "test $? != 0"
			}
			n := name(size, i)
			commands = append(commands, fmt.Sprintf("truncate -s %d %s; mkswap -U %s -L '%s' %s >/dev/null 2>&1; %s", size, n, id, label, n, result))
		}
	}
	inReference(t, dir, "true", commands)
	for _, size := range sizes {
		for i, label := range labels {
			var ours pages
			if err := swap.Write(&ours, size, id, label); (err == nil) != (size >= swap.MinSize) {
				t.Errorf("%d bytes: %v", size, err)
			}
			if size < swap.MinSize {
				continue
			}
			f, err := os.Open(filepath.Join(dir, name(size, i)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var theirs pages
			if _, err := io.ReadFull(f, theirs[:]); err != nil {
				t.Fatal(err)
			}
			if theirs != ours {
				t.Errorf("%d bytes with the label %q: our swap space and mkswap's differ", size, label)
			}
			info, err := swap.ReadInfo(f, size)
			if err != nil || info.UUID != id || info.Label != label || info.Size != size/4096*4096 {
				t.Errorf("%+v, %v", info, err)
			}
		}
	}
}

// pages is the start of swap space.
type pages [2 * swap.PageSize]byte

func (p *pages) WriteAt(b []byte, off int64) (int, error) {
	return copy(p[off:], b), nil
}
