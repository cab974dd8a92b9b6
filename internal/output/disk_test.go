package output

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// verityFiles define a disk with a root partition and its hashes.
var verityFiles = map[string]string{"mkosi.repart/10-root.conf": dataRoot, "mkosi.repart/20-hash.conf": hashRoot,
	"mkosi.repart/30-spare.conf": "[Partition]\nType=srv\nSplitName=-\nSizeMinBytes=4096\nSizeMaxBytes=4096\n"}

// conf reads a configuration whose outputs depend on nothing else.
func conf(t *testing.T, output string, files map[string]string) *config.Image {
	t.Helper()
	all := map[string]string{"mkosi.conf": "[Output]\nSeed=6f0b6a3e-4ac0-4d0b-9d2f-3b4a35b7a9c1\n" + output + "[Content]\nSourceDateEpoch=1760000000\n"}
	for name, text := range files {
		all[name] = text
	}
	return loadConf(t, all)
}

// outputs reads what is in the directory for outputs, directories and links by "".
func outputs(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		all[name] = nil
		if d.Type().IsRegular() {
			all[name], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func names(m map[string][]byte) []string {
	var list []string
	for name := range m {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// system is a request for an image of a tree whose files are all of one time.
func system(t *testing.T, img *config.Image) Request {
	t.Helper()
	r := request(t, *img)
	writeFiles(t, r.Root, map[string]string{"etc/os-release": "ID=test\n", "usr/lib/os-release": "ID=other\n"})
	if err := tree.ClampTimes(t.Context(), r.Root, time.Unix(1000000000, 0)); err != nil {
		t.Fatal(err)
	}
	return r
}

// write packs a system.
func write(t *testing.T, img *config.Image) (*Result, map[string][]byte) {
	t.Helper()
	r := system(t, img)
	result, err := Write(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(r.TempDir); err != nil || len(left) > 0 && img.Format != config.FormatESP {
		t.Errorf("left in the directory for temporary files: %v, %v", left, err)
	}
	return result, outputs(t, r.Dir)
}

const splitAll = "SplitArtifacts=uki,kernel,initrd,tar,pcrs,partitions,roothash,kernel-modules-initrd,repart-definitions,os-release\n"

func TestSplitArtifacts(t *testing.T) {
	for name, tt := range map[string]struct {
		conf string
		want []string
	}{
		"disk": {"", []string{"image", "image.osrelease", "image.raw", "image.repart.d", "image.repart.d/10-root.conf", "image.repart.d/20-hash.conf",
			"image.repart.d/30-spare.conf", "image.root-x86-64-verity.raw", "image.root-x86-64.raw", "image.roothash", "image.tar"}},
		"compressed": {"OutputExtension=img\nCompressOutput=zstd\n", []string{"image", "image.img.root-x86-64-verity.zst", "image.img.root-x86-64.zst",
			"image.img.zst", "image.osrelease", "image.repart.d", "image.repart.d/10-root.conf", "image.repart.d/20-hash.conf",
			"image.repart.d/30-spare.conf", "image.roothash", "image.tar.zst"}},
		"sysext": {"Format=sysext\n", []string{"image", "image.raw", "image.repart.d", "image.repart.d/10-root.conf", "image.root-x86-64.raw", "image.tar"}},
		"portable": {"Format=portable\n", []string{"image", "image.osrelease", "image.raw", "image.repart.d", "image.repart.d/10-root.conf",
			"image.root-x86-64.raw", "image.tar"}},
		"cpio":           {"Format=cpio\nCompressOutput=no\n", []string{"image", "image.cpio", "image.osrelease", "image.tar"}},
		"tar":            {"Format=tar\n", []string{"image", "image.osrelease", "image.tar.zst"}},
		"tar of a name":  {"Format=tar\nOutputExtension=x\n", []string{"image", "image.osrelease", "image.tar.zst", "image.x.zst"}},
		"compressed tar": {"Format=tar\nCompressOutput=xz\n", []string{"image", "image.osrelease", "image.tar.xz"}},
	} {
		t.Run(name, func(t *testing.T) {
			img := conf(t, splitAll+"SplitArtifacts=tar,roothash\n"+tt.conf, verityFiles)
			result, files := write(t, img)
			if diff := cmp.Diff(tt.want, names(files)); diff != "" {
				t.Error(diff)
			}
			known := slices.Concat(SplitNames(img), result.Names[:1], []string{img.SymlinkName()})
			for _, name := range result.Names {
				if !slices.Contains(known, name) {
					t.Errorf("%s is not among the names that are known before: %v", name, known)
				}
			}
			if b, ok := files["image.osrelease"]; ok && string(b) != "ID=test\n" {
				t.Errorf("os-release is %q", b)
			}
		})
	}
}

// Parts are those of the image, and unpack to it.
func TestSplitPartitions(t *testing.T) {
	result, plain := write(t, conf(t, splitAll, verityFiles))
	_, packed := write(t, conf(t, splitAll+"CompressOutput=gz\n", verityFiles))
	raw := plain["image.raw"]
	for i, name := range []string{"image.root-x86-64.raw", "image.root-x86-64-verity.raw"} {
		p := result.Partitions[i]
		if !bytes.Equal(plain[name], raw[p.Offset:p.Offset+p.Size]) {
			t.Errorf("%s is not the partition", name)
		}
	}
	if hash := result.RootHash(); len(hash) != 32 || string(plain["image.roothash"]) != strings.ReplaceAll(result.Partitions[0].UUID.String()+result.Partitions[1].UUID.String(), "-", "") {
		t.Errorf("the root hash %x does not give the partitions their UUIDs; file %q", hash, plain["image.roothash"])
	}
	for name, content := range packed {
		base, ok := strings.CutSuffix(name, ".gz")
		if !ok {
			continue
		}
		r, _, err := archive.NewReader(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain[base]) {
			t.Errorf("%s does not unpack to %s: %v", name, base, err)
		}
	}
	if string(plain["image.repart.d/10-root.conf"]) != dataRoot {
		t.Errorf("definition %q", plain["image.repart.d/10-root.conf"])
	}
	_, again := write(t, conf(t, splitAll+"CompressOutput=gz\n", verityFiles))
	for name := range packed {
		if !bytes.Equal(packed[name], again[name]) {
			t.Errorf("%s is not the same a second time", name)
		}
	}
}

// A signature is split off without the zeros that follow it in its partition, and OutputMode= is for all files.
func TestSplitSignature(t *testing.T) {
	files := keyPair(t)
	for name, text := range verityFiles {
		files[name] = text
	}
	files["mkosi.repart/40-sig.conf"] = signature
	img := conf(t, splitAll+"OutputMode=600\n", files)
	r := request(t, *img)
	if _, err := Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for name, content := range outputs(t, r.Dir) {
		fi, err := os.Lstat(filepath.Join(r.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().IsRegular() && filepath.Dir(name) == "." && fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, fi.Mode())
		}
		if strings.Contains(name, "verity-sig") && (len(content) == 0 || content[len(content)-1] != '}') {
			t.Errorf("%s ends with %q", name, content[max(0, len(content)-10):])
		}
	}
}

// A larger image has a good table at both ends, and the same partitions.
func TestOutputSize(t *testing.T) {
	_, small := write(t, conf(t, "", verityFiles))
	r := system(t, conf(t, "OutputSize=5M\n", verityFiles))
	if _, err := Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	large := outputs(t, r.Dir)["image.raw"]
	if len(large) != 5<<20 {
		t.Fatalf("%d bytes", len(large))
	}
	var tables []*gpt.Table
	for _, b := range [][]byte{small["image.raw"], large} {
		found, err := gpt.Read(bytes.NewReader(b), int64(len(b)), 512)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(found.Primary, found.Backup, found.BootRecord.Check(uint64(len(b)/512))); err != nil {
			t.Error(err)
		}
		tables = append(tables, found.Table)
	}
	if diff := cmp.Diff(tables[0].Partitions, tables[1].Partitions); diff != "" {
		t.Error(diff)
	}
	if got, want := tables[1].LastUsable, uint64(5<<20/512-34); got != want {
		t.Errorf("the last usable sector is %d, want %d", got, want)
	}
	var warnings []string
	r = system(t, conf(t, "OutputSize=4K\n", verityFiles))
	r.Warn = func(s string) { warnings = append(warnings, s) }
	if _, err := Write(t.Context(), r); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "OutputSize=") {
		t.Errorf("too small: %v, %q", err, warnings)
	}
}

// Holes stay holes in what is copied out of an image.
func TestCopyDataKeepsHoles(t *testing.T) {
	dir := t.TempDir()
	src, err := os.Create(filepath.Join(dir, "src"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	const size = 8 << 20
	if err := errors.Join(src.Truncate(size), func() error { _, err := src.WriteAt([]byte("data"), 5<<20); return err }()); err != nil {
		t.Fatal(err)
	}
	for _, section := range [][2]int64{{0, size}, {5 << 20, 4}, {5<<20 + 2, 1 << 20}, {1 << 20, 1 << 20}, {6 << 20, 2 << 20}} {
		dst, err := os.Create(filepath.Join(dir, "dst"))
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(dst.Truncate(section[1]), copyData(t.Context(), dst, src, section[0], section[1]))
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, section[1])
		if _, err := src.ReadAt(want, section[0]); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(dst.Name()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("section %v differs, %v", section, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(dst.Fd()), &st); err != nil || st.Blocks*512 > 1<<20 {
			t.Errorf("section %v takes %d bytes on disk, %v", section, st.Blocks*512, err)
		}
		dst.Close()
	}
}
