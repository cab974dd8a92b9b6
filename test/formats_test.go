//go:build integration

package test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// formats is a configuration with an image of every format that is made from partition definitions, and of archives,
// with all that can be split off. Both have the same key.
func formats() *steps {
	const small = "[Content]\nBootable=no\nBaseTrees=@SMALL@\n"
	const all = "SplitArtifacts=uki,kernel,initrd,tar,pcrs,partitions,roothash,kernel-modules-initrd,repart-definitions,os-release\n"
	data := "[Partition]\nType=usr\nFormat=erofs\nCopyFiles=/usr:/\nMinimize=best\nVerity=data\nVerityMatchKey=usr\nSplitName=usr-%t\n"
	hash := "[Partition]\nType=usr-verity\nVerity=hash\nVerityMatchKey=usr\nSizeMinBytes=1M\nSizeMaxBytes=1M\n"
	return &steps{
		universal: "[Output]\nOutputDirectory=mkosi.output\nOutputMode=640\n",
		images: map[string]stepsImage{
			// Of definitions with one name that of the first directory counts, drop-ins of both do.
			"split": {
				conf: "[Output]\nFormat=disk\nRepartDirectories=one,two\nOutputSize=20M\n" + all + small + "[Validation]\nVerity=hash\n",
				files: map[string]string{
					"one/10-usr.conf": data + "Label=one\n", "two/10-usr.conf": data + "Label=two\n",
					"two/10-usr.conf.d/flags.conf": "[Partition]\nNoAuto=yes\n",
					"two/20-hash.conf":             hash,
					"two/30-none.conf":             "[Partition]\nType=srv\nSizeMinBytes=1M\nSizeMaxBytes=1M\nSplitName=-\n",
				},
				output: "split.raw",
			},
			"service": {conf: "[Output]\nFormat=portable\nCompressOutput=xz\nOutputExtension=img\n" + all + small,
				output: "service.img.xz", files: map[string]string{"mkosi.repart/10.conf": "[Partition]\nType=srv\n"}},
			// The boot partitions are added when the others are there, and start from optical media.
			"boots": {
				conf: "[Output]\nFormat=disk\nElTorito=auto\nElToritoVolume=BOOTS\n" + all + small,
				files: map[string]string{
					"mkosi.extra/efi/file": "x", "mkosi.extra/boot/file": "y",
					"mkosi.repart/00-boot.conf": "[Partition]\nType=xbootldr\nFormat=vfat\nCopyFiles=/boot:/\nSplitName=-\n",
					"mkosi.repart/10-root.conf": "[Partition]\nType=root\nFormat=erofs\nCopyFiles=/\nMinimize=best\nSplitName=%n-%T\n",
					"mkosi.repart/20-esp.conf":  "[Partition]\nType=esp\nFormat=vfat\nCopyFiles=/efi:/\nSplitName=-\n",
					"mkosi.repart/30-srv.conf":  "[Partition]\nType=srv\nSizeMinBytes=1M\nSizeMaxBytes=1M\nSplitName=srv-%U\n",
				},
				output: "boots.raw",
			},
			"archive": {conf: "[Output]\nFormat=tar\nCompressOutput=gz\n" + all + small, output: "archive.tar.gz"},
		},
		setup: func(t *testing.T, dir string) {
			for name, mode := range map[string]os.FileMode{"mkosi.key": 0o600, "mkosi.crt": 0o644} {
				b, err := os.ReadFile(filepath.Join(sharedKeys(t), name))
				if err != nil {
					t.Fatal(err)
				}
				writeFile(t, filepath.Join(dir, name), b, mode)
			}
		},
	}
}

// makeKeys makes the key pair that the tests share.
var makeKeys = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(sharedDir, "keys")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if out, err := mkosi(dir, "genkey").CombinedOutput(); err != nil {
		return "", fmt.Errorf("making keys: %w\n%s", err, out)
	}
	return dir, nil
})

// sharedKeys is a directory with a key pair that the tests share.
func sharedKeys(t *testing.T) string {
	t.Helper()
	dir, err := makeKeys()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Outputs are called as the reference calls them, partitions lie where it puts them, and what is split off is what it
// says that it is.
func TestFormats(t *testing.T) {
	t.Parallel()
	s := formats()
	theirs, ours := s.build(t)
	theirs, ours = filepath.Join(theirs, "mkosi.output"), filepath.Join(ours, "mkosi.output")
	if diff := cmp.Diff(outputs(t, theirs), outputs(t, ours)); diff != "" {
		t.Errorf("the reference's outputs (-) and ours (+) differ:\n%s", diff)
	}
	unpack(t, theirs)
	unpack(t, ours)
	for _, image := range []string{"split.raw", "service.img", "boots.raw"} {
		t.Run(image, func(t *testing.T) { samePlaces(t, filepath.Join(theirs, image), filepath.Join(ours, image)) })
	}
	t.Run("optical", func(t *testing.T) {
		if !bytes.Equal(descriptors(t, filepath.Join(theirs, "boots.raw")), descriptors(t, filepath.Join(ours, "boots.raw"))) {
			t.Error("the descriptors of ISO 9660 differ")
		}
	})
	t.Run("root hashes", func(t *testing.T) { checkRootHashes(t, ours) })
	t.Run("definitions", func(t *testing.T) { checkDefinitions(t, theirs, ours) })
	t.Run("archive", func(t *testing.T) {
		sameTree(t, open(t, filepath.Join(theirs, "archive.tar.gz")), open(t, filepath.Join(ours, "archive.tar.gz")), nil, nil)
	})
	t.Run("size", func(t *testing.T) {
		for _, check := range [][]string{{"sgdisk", "-v"}, {"sfdisk", "--verify"}} {
			out := must(t, reference(sharedDir, append(check, filepath.Join(ours, "split.raw"))...))
			if !strings.Contains(out, "No problems found") && !strings.Contains(out, "No errors detected") {
				t.Errorf("%v: %s", check, out)
			}
		}
	})
	t.Run("again", func(t *testing.T) { checkAgain(t, s) })
}

// samePlaces compares the partition tables of two disk images whose file systems are written by different programs: their
// sizes, and so what follows them, may differ by two blocks.
func samePlaces(t *testing.T, theirs, ours string) {
	t.Helper()
	near := cmp.Comparer(func(a, b int64) bool { return max(a, b)-min(a, b) <= 2*4096/sector })
	if diff := cmp.Diff(partitionTable(t, theirs), partitionTable(t, ours), near); diff != "" {
		t.Errorf("the reference's partitions (-) and ours (+) differ:\n%s", diff)
	}
}

// descriptors are the sectors of an image that a CD-ROM is known by, but for the name of the program that wrote them.
func descriptors(t *testing.T, image string) []byte {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 32<<10)
	if _, err := f.ReadAt(b, 32<<10); err != nil {
		t.Fatal(err)
	}
	clear(b[574:702]) // application identifier, ECMA-119, 8.4.21
	return b
}

// checkRootHashes has veritysetup check the parts that were split off.
func checkRootHashes(t *testing.T, ours string) {
	for _, set := range [][3]string{
		{"split.roothash", "split.usr-usr-x86-64.raw", "split.usr-x86-64-verity.raw"},
		{"service.roothash", "service.img.root-x86-64", "service.img.root-x86-64-verity"},
	} {
		root, err := os.ReadFile(filepath.Join(ours, set[0]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hex.DecodeString(string(root)); err != nil || len(root) != 64 {
			t.Errorf("%s holds %q", set[0], root)
		}
		must(t, reference(sharedDir, "veritysetup", "verify", filepath.Join(ours, set[1]), filepath.Join(ours, set[2]), string(root)))
	}
	signature, err := os.ReadFile(filepath.Join(ours, "service.img.root-x86-64-verity-sig"))
	if err != nil || !bytes.HasPrefix(signature, []byte(`{"rootHash":"`)) || !bytes.HasSuffix(signature, []byte(`"}`)) {
		t.Errorf("signature %q, %v", signature, err)
	}
}

// checkDefinitions compares the definitions that were split off. Of two with one name the reference uses that of the
// first directory, and writes that of the last.
func checkDefinitions(t *testing.T, theirs, ours string) {
	diffs, err := tree.Compare(t.Context(), filepath.Join(theirs, "split.repart.d"), filepath.Join(ours, "split.repart.d"), tree.CompareOptions{IgnoreTimes: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diffs {
		if d.Path != "10-usr.conf" || d.What != "content" {
			t.Errorf("%s", d)
		}
	}
	b, err := os.ReadFile(filepath.Join(ours, "split.repart.d/10-usr.conf"))
	if err != nil || !strings.HasSuffix(string(b), "Label=one\n") {
		t.Errorf("the definition is %q, %v", b, err)
	}
}

// unpack unpacks everything that is compressed with xz.
func unpack(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.xz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		// The reference writes tar archives that are called compressed and are not.
		if r := run(t, reference(sharedDir, "xz", "-dk", file)); r.code != 0 && !strings.Contains(file, "theirs") {
			t.Errorf("xz: %s", r.stderr)
		}
	}
	if len(files) == 0 {
		t.Error("nothing is compressed")
	}
}

// checkAgain builds the configuration once more and compares the bytes.
func checkAgain(t *testing.T, s *steps) {
	dir := filepath.Join(sharedDir, "again")
	s.write(t, dir)
	mirror, err := hostMirror()
	if err != nil {
		t.Fatal(err)
	}
	must(t, mkosi(dir, "--force", "--local-mirror", mirror))
	first := filepath.Join(sharedDir, "steps/TestFormats/ours/mkosi.output")
	unpack(t, filepath.Join(dir, "mkosi.output"))
	must(t, exec.Command("diff", "-r", "--no-dereference", first, filepath.Join(dir, "mkosi.output")))
}
