package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/program"
)

// Grub are the options of what installs grub.
type Grub struct {
	Options
	// Signed says that only a grub for EFI that the distribution has signed is wanted.
	Signed bool
	// Distribution is the directory below EFI on the boot partition where a grub that the distribution has signed looks
	// for its configuration, such as "debian".
	Distribution string
	// RunInImage runs a program of the tree with the tree as its root directory. It is nil where this machine cannot run
	// the image's programs.
	RunInImage program.RunFunc
	// Run runs a program of this machine, or of the tools tree, that sees the tree where Options.Root says.
	Run program.RunFunc
}

// Where distributions keep grub in a tree.
var (
	grubDirs  = []string{"usr/lib/grub", "usr/share/grub2"}
	grubFonts = []string{"usr/share/grub/unicode.pf2", "usr/share/grub2/unicode.pf2"}
)

// grubModules are built into a grub that is made for the image: all that it can do without other files, with which it
// reads the boot partition, its configuration and kernels. Those to find disks or start EFI programs depend on the
// platform.
var grubModules = []string{
	"cat", "cmp", "div", "echo", "fat", "hello", "help", "keylayouts", "linux", "loadenv", "ls", "normal", "part_gpt",
	"read", "reboot", "search_fs_file", "search", "sleep", "test", "tr", "true",
}

const (
	// grubPrefix is the directory of the boot partition with grub's files.
	grubPrefix = "/grub"
	// grubEarly finds the boot partition: the first one with the configuration.
	grubEarly = "search --no-floppy --set=root --file " + grubPrefix + "/grub.cfg\nset prefix=($root)" + grubPrefix + "\n"
)

// grubPackages says which packages have grub.
const grubPackages = "add the packages that have it: grub-pc-bin or grub-efi-amd64-bin and grub-common of Debian and Ubuntu, grub2-pc-modules or grub2-efi-x64-modules and grub2-tools-minimal of Fedora, grub of Arch Linux"

// findGrub returns the directory with grub's modules for a platform, such as "i386-pc", in the tree.
func findGrub(i *image, platform string) (string, error) {
	var tried []string
	for _, dir := range grubDirs {
		dir += "/" + platform
		if i.isFile(dir + "/normal.mod") {
			return dir, nil
		}
		tried = append(tried, dir+"/normal.mod")
	}
	return "", &Missing{"grub for " + platform, tried, grubPackages}
}

// mkimage returns a grub for a platform, made from modules in a directory of the tree with grub-mkimage(1): the image's
// own, which fits them, or else this machine's. sbat is the path of a file in the tree for shim, or "".
func (o Grub) mkimage(ctx context.Context, i *image, dir, platform, sbat string, modules ...string) ([]byte, error) {
	early, err := memoryFile("grub-early.cfg", grubEarly)
	if err != nil {
		return nil, err
	}
	defer early.Close()
	// The program has the disk take what it wrote, which fails on a pipe.
	made, err := memoryFile("grub", "")
	if err != nil {
		return nil, err
	}
	defer made.Close()
	for _, p := range o.mkimagePrograms(i) {
		args := []string{p.name, "--directory=" + p.root + "/" + dir, "--config=/proc/self/fd/0", "--prefix=" + grubPrefix, "--format=" + platform}
		if !o.Shim {
			args = append(args, "--disable-shim-lock") // there is nobody to ask whether a kernel may run
		}
		if sbat != "" {
			args = append(args, "--sbat="+p.root+"/"+sbat)
		}
		err := p.run(ctx, program.Command{Args: slices.Concat(args, grubModules, modules), Stdin: early, Stdout: made})
		if err == nil {
			return readMade(made)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("making grub for %s: %w", platform, err)
		}
	}
	return nil, fmt.Errorf("making grub for %s needs the program grub-mkimage or grub2-mkimage in the image or on this machine: install grub-common of Debian or Ubuntu, grub2-tools-minimal of Fedora, grub of Arch Linux", platform)
}

// readMade reads what grub-mkimage has written.
func readMade(f *os.File) ([]byte, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxProgram+1))
	if err != nil {
		return nil, fmt.Errorf("reading the grub that was made: %w", err)
	}
	if len(b) == 0 || len(b) > maxProgram {
		return nil, fmt.Errorf("the grub that was made has %d bytes, and must have 1 to %d", len(b), maxProgram)
	}
	return b, nil
}

// mkimageProgram is a grub-mkimage that may be there.
type mkimageProgram struct {
	run  program.RunFunc
	name string
	root string // where it sees the tree, without a slash at the end
}

// mkimagePrograms are the programs to try, in this order.
func (o Grub) mkimagePrograms(i *image) (programs []mkimageProgram) {
	names := []string{"grub-mkimage", "grub2-mkimage"}
	for _, name := range names {
		if o.RunInImage != nil && i.isFile("usr/bin/"+name) {
			programs = append(programs, mkimageProgram{o.RunInImage, "/usr/bin/" + name, ""})
		}
	}
	for _, name := range names {
		if o.Run != nil {
			programs = append(programs, mkimageProgram{o.Run, name, o.Root})
		}
	}
	return programs
}

// memoryFile returns a file in memory that can be opened by a program that has it as its standard input.
func memoryFile(name, content string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := strings.NewReader(content).WriteTo(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("writing a file in memory: %w", err)
	}
	return f, nil
}
