// Command disk makes disk images with systemd-repart and with this project, in turn, and compares them.
//
// It needs root (for loop mounts) and the reference root that test/setup makes, whose /usr is what the images hold, as
// often as it takes to fill 1 GiB. Each image is written to a file system of its own, a new ext4 in a file. The first
// pair is not counted.
//
//	go run ./bench/disk [-n PAIRS] [-root REFERENCE] [CASE...]
//
// Cases: ext4 (Minimize=guess, and an ESP), erofs (zstd, verity and signature), verity (hashes of 1 GiB alone, against
// veritysetup), files (erofs of a million small files). Without any, all but files.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mkosi-go/mkosi/bench/internal/measure"
	"github.com/mkosi-go/mkosi/internal/keys"
)

var (
	pairs     = flag.Int("n", 3, "number of counted pairs")
	reference = flag.String("root", measure.Reference(), "the root that holds the reference")
	scratch   = flag.String("scratch", "/var/tmp", "directory for the file systems")
)

// benchmark is one comparison; goal is the ratio of wall times that it has to reach.
type benchmark struct {
	name string
	goal float64
	// tree makes what the images hold.
	tree func(dir string) error
	// definitions are the partitions, by the names of their files.
	definitions map[string]string
}

var benchmarks = []benchmark{
	{"ext4", 0.6, usrTree, map[string]string{
		"00-esp.conf":  "Type=esp\nFormat=vfat\nCopyFiles=/boot:/\nSizeMinBytes=300M\nSizeMaxBytes=300M\n",
		"10-root.conf": "Type=root\nFormat=ext4\nCopyFiles=/\nMinimize=guess\n",
	}},
	{"erofs", 0.5, usrTree, verityDefinitions("Compression=zstd\n")},
	{"verity", 0.5, nil, nil},
	{"files", 1, manyFiles, verityDefinitions("")},
}

func verityDefinitions(more string) map[string]string {
	return map[string]string{
		"10-root.conf":     "Type=root\nFormat=erofs\nCopyFiles=/\nMinimize=best\nVerity=data\nVerityMatchKey=root\n" + more,
		"20-verity.conf":   "Type=root-verity\nVerity=hash\nVerityMatchKey=root\nMinimize=best\n",
		"30-verity-s.conf": "Type=root-verity-sig\nVerity=signature\nVerityMatchKey=root\n",
	}
}

func main() {
	// What is measured of this project is a process of its own, too.
	if len(os.Args) > 1 && os.Args[1] == ourselves {
		if err := ours(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if err := run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(names []string) error {
	if len(names) == 0 {
		names = []string{"ext4", "erofs", "verity"}
	}
	failed := false
	for _, name := range names {
		i := slices.IndexFunc(benchmarks, func(b benchmark) bool { return b.name == name })
		if i < 0 {
			return fmt.Errorf("no case %q", name)
		}
		ratio, err := benchmarks[i].run()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		failed = failed || ratio > benchmarks[i].goal
	}
	if failed {
		return errors.New("a goal is missed")
	}
	return nil
}

// run measures the pairs and returns the ratio of the wall times.
func (b benchmark) run() (ratio float64, err error) {
	dir, err := os.MkdirTemp(*scratch, "mkosi-bench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := b.prepare(dir); err != nil {
		return 0, err
	}
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	theirs, ours := b.commands(dir, exe)
	wall, cpu, peak := measure.Row{Name: "wall, seconds"}, measure.Row{Name: "CPU, seconds"}, measure.Row{Name: "largest process, MiB"}
	for i := range *pairs + 1 {
		t, err := once(dir, theirs)
		if err != nil {
			return 0, err
		}
		o, err := once(dir, ours)
		if err != nil {
			return 0, err
		}
		if i == 0 {
			continue
		}
		for _, r := range []struct {
			row    *measure.Row
			theirs float64
			ours   float64
		}{{&wall, t.Wall, o.Wall}, {&cpu, t.CPU, o.CPU}, {&peak, t.Peak, o.Peak}} {
			r.row.Theirs, r.row.Ours = append(r.row.Theirs, r.theirs), append(r.row.Ours, r.ours)
		}
	}
	fmt.Printf("%s, goal %.1f\n", b.name, b.goal)
	return wall.Ratio(), measure.Print(os.Stdout, *pairs, 2, wall, cpu, peak)
}

// prepare makes the tree, the definitions and a key.
func (b benchmark) prepare(dir string) error {
	for _, d := range []string{"tree/boot/EFI/Linux", "definitions", "mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if b.tree == nil {
		return random(filepath.Join(dir, "data"), 1<<30)
	}
	for name, text := range b.definitions {
		if err := os.WriteFile(filepath.Join(dir, "definitions", name), []byte("[Partition]\n"+text), 0o644); err != nil {
			return err
		}
	}
	key, cert, err := keys.Generate(keys.GenerateOptions{CommonName: "benchmark", ValidDays: 10, Now: time.Now()})
	if err != nil {
		return err
	}
	if err := keys.WriteFiles(filepath.Join(dir, "key"), filepath.Join(dir, "crt"), key, cert, false); err != nil {
		return err
	}
	if err := random(filepath.Join(dir, "tree/boot/EFI/Linux/linux.efi"), 60<<20); err != nil {
		return err
	}
	return b.tree(filepath.Join(dir, "tree"))
}

const seed = "3d30965a-0981-46f6-a67a-9c6bc38538e6"

// commands returns the two commands to compare, each writing to dir/mnt/image.
func (b benchmark) commands(dir, exe string) (theirs, ours func() *exec.Cmd) {
	in := func(args ...string) *exec.Cmd {
		cmd := exec.Command("test/reference", append([]string{dir}, args...)...)
		cmd.Env = append(os.Environ(), "MKOSI_REFERENCE_ROOT="+*reference, "TMPDIR="+filepath.Join(dir, "mnt"))
		return cmd
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	image := path("mnt/image")
	if b.tree == nil {
		theirs = func() *exec.Cmd {
			return in("veritysetup", "format", "--uuid", seed, "--salt", strings.Repeat("ab", 32), path("data"), image)
		}
		ours = func() *exec.Cmd { return exec.Command(exe, ourselves, "verity", path("data"), image) }
		return theirs, ours
	}
	theirs = func() *exec.Cmd {
		return in("systemd-repart", "--empty=create", "--size=auto", "--dry-run=no", "--offline=yes", "--pretty=no", "--seed="+seed,
			"--definitions="+path("definitions"), "--copy-source="+path("tree"), "--private-key="+path("key"), "--certificate="+path("crt"), image)
	}
	ours = func() *exec.Cmd { return exec.Command(exe, ourselves, "image", dir, image) }
	return theirs, ours
}

// once runs a command with a fresh file system at dir/mnt.
func once(dir string, command func() *exec.Cmd) (c measure.Cost, err error) {
	disk, mnt := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	for _, argv := range [][]string{
		{"truncate", "--size=12G", disk},
		{"mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", disk},
		{"mount", "-o", "loop", disk, mnt},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return c, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
	}
	defer func() {
		if out, umountErr := exec.Command("umount", mnt).CombinedOutput(); umountErr != nil {
			err = errors.Join(err, fmt.Errorf("umount: %w: %s", umountErr, out))
		}
		err = errors.Join(err, os.Remove(disk))
	}()
	syscall.Sync()
	var out bytes.Buffer
	cmd := command()
	cmd.Stdout, cmd.Stderr = &out, &out
	if c, err = measure.Run(cmd); err != nil {
		return c, fmt.Errorf("%s: %w:\n%s", cmd, err, out.String())
	}
	return c, nil
}

// usrTree fills a directory with copies of the reference root's /usr, up to 1 GiB.
func usrTree(dir string) error {
	left := int64(1 << 30)
	for i := 0; left > 0; i++ {
		from := filepath.Join(*reference, "usr")
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil || left <= 0 {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			to := filepath.Join(dir, fmt.Sprintf("usr-%d", i), rel)
			switch {
			case d.IsDir():
				return os.MkdirAll(to, 0o755)
			case d.Type() == fs.ModeSymlink:
				target, err := os.Readlink(path)
				return errors.Join(err, os.Symlink(target, to))
			case !d.Type().IsRegular():
				return nil
			}
			b, err := os.ReadFile(path)
			left -= int64(len(b))
			return errors.Join(err, os.WriteFile(to, b, 0o755))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// manyFiles makes a million files of some bytes.
func manyFiles(dir string) error {
	for i := range 1000 {
		sub := filepath.Join(dir, fmt.Sprintf("%03d", i))
		if err := os.Mkdir(sub, 0o755); err != nil {
			return err
		}
		for j := range 1000 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file-%03d", j)), fmt.Appendf(nil, "%d of %d", j, i), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
