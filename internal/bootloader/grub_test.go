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
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
)

// fakeMkimage is a grub-mkimage that writes its arguments and its configuration.
func fakeMkimage(_ context.Context, c program.Command) error {
	config, err := io.ReadAll(io.NewSectionReader(c.Stdin.(io.ReaderAt), 0, 1<<20))
	if err != nil {
		return err
	}
	// The real one fails where a disk cannot be told to take what was written.
	if err := c.Stdout.(*os.File).Sync(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Stdout, "%s\n%s", strings.Join(c.Args, " "), config)
	return err
}

// missingProgram is a machine without the program.
func missingProgram(_ context.Context, c program.Command) error {
	return fmt.Errorf("running %s: %w", c.Args[0], fs.ErrNotExist)
}

func grubTree(t *testing.T, more ...string) Grub {
	t.Helper()
	files := map[string]string{
		"usr/lib/grub/x86_64-efi/normal.mod": "", "usr/share/grub2/i386-pc/normal.mod": "",
		"usr/share/grub2/i386-pc/boot.img": "boot", "usr/share/grub/unicode.pf2": "font",
	}
	for _, name := range more {
		files[name] = name
	}
	return Grub{
		Options: Options{Root: makeTree(t, files), Architecture: "x64"}, Distribution: "debian",
		RunInImage: missingProgram, Run: missingProgram,
	}
}

func TestInstallGrubEFI(t *testing.T) {
	ours := func(program, root string, more ...string) string {
		args := []string{program, "--directory=" + root + "/usr/lib/grub/x86_64-efi", "--config=/proc/self/fd/0", "--prefix=/grub", "--format=x86_64-efi"}
		return strings.Join(slices.Concat(args, more, grubModules, []string{"chain"}), " ") + "\n" + grubEarly
	}
	install := func(o Grub, program string) {
		t.Helper()
		if err := InstallGrubEFI(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		sameFiles(t, readTree(t, o.Root, "efi"), map[string]string{
			bootDir + "BOOTX64.EFI":      program,
			"efi/EFI/debian/grub.cfg":    "configfile /grub/grub.cfg\n",
			"efi/grub/fonts/unicode.pf2": "font",
		})
	}
	o := grubTree(t, "usr/bin/grub2-mkimage")
	o.RunInImage = fakeMkimage // which is preferred to this machine's, whatever their names
	o.Run = fakeMkimage
	install(o, ours("/usr/bin/grub2-mkimage", "", "--disable-shim-lock"))
	o = grubTree(t)
	o.RunInImage, o.Run = nil, fakeMkimage
	install(o, ours("grub-mkimage", o.Root, "--disable-shim-lock"))

	signed := []string{"usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "boot/efi/EFI/fedora/grubx64.efi", "usr/share/efi/x86_64/grub.efi"}
	for n := range signed {
		o = grubTree(t, signed[n:]...)
		o.Signed, o.Sign = true, fakeSign
		install(o, signed[n])
	}
}

func TestInstallGrubRefuses(t *testing.T) {
	o := grubTree(t)
	if err := InstallGrubEFI(t.Context(), o); err == nil || !strings.Contains(err.Error(), "install grub-common") {
		t.Errorf("no grub-mkimage: %v", err)
	}
	failed := errors.New("exit status 1")
	o.Run = func(context.Context, program.Command) error { return failed }
	if err := InstallGrubEFI(t.Context(), o); !errors.Is(err, failed) {
		t.Errorf("a failing grub-mkimage: %v", err)
	}
	o.Run = func(context.Context, program.Command) error { return nil }
	if err := InstallGrubEFI(t.Context(), o); err == nil || !strings.Contains(err.Error(), "0 bytes") {
		t.Errorf("a grub-mkimage that writes nothing: %v", err)
	}
	o.Signed = true
	isMissing(t, InstallGrubEFI(t.Context(), o), "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "Bootloader=grub")
	o.Signed, o.Architecture = false, "aa64"
	isMissing(t, InstallGrubEFI(t.Context(), o), "grub for arm64-efi", "/usr/lib/grub/arm64-efi/normal.mod", "grub-efi-amd64-bin")
	o.Architecture = "sh"
	if err := InstallGrubEFI(t.Context(), o); err == nil || !strings.Contains(err.Error(), "Bootloader=") {
		t.Errorf("no such platform: %v", err)
	}
	if got := readTree(t, o.Root, "."); len(got) != 4 {
		t.Errorf("errors leave %v", got)
	}
}

func TestMakeBootSector(t *testing.T) {
	o := grubTree(t)
	o.Run, o.Sign, o.Shim, o.Architecture = fakeMkimage, fakeSign, true, ""
	b, err := MakeBootSector(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if string(b.Boot) != "boot" || !strings.Contains(string(b.Core), "--format=i386-pc --disable-shim-lock") || !strings.HasSuffix(string(b.Core), "biosdisk\n"+grubEarly) {
		t.Errorf("got %q and %q", b.Boot, b.Core)
	}
	sameFiles(t, readTree(t, o.Root, "efi"), map[string]string{"efi/grub/fonts/unicode.pf2": "font"})

	o.Root = makeTree(t, map[string]string{"usr/lib/grub/i386-pc/normal.mod": ""})
	_, err = MakeBootSector(t.Context(), o)
	isMissing(t, err, "/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin")
	o.Root = makeTree(t, map[string]string{"usr/lib/grub/x86_64-efi/normal.mod": ""})
	_, err = MakeBootSector(t.Context(), o)
	isMissing(t, err, "/usr/lib/grub/i386-pc/normal.mod", "/usr/share/grub2/i386-pc/normal.mod")
}

func TestGrubConfig(t *testing.T) {
	uki := Entry{ID: "tok-2.0", UKI: "/EFI/Linux/tok-2.0.efi"}
	linux := Entry{
		ID: `to"k$-1.0`, Linux: "/tok/1.0/vm linuz", Options: `root=x a="b $c;d" e;f{g}`,
		Initrds: []string{"/tok/a", "/tok/b'c"}, Devicetree: "/tok/1.0/x.dtb",
	}
	const first = `menuentry "tok-2.0" {
    chainloader /EFI/Linux/tok-2.0.efi
}
`
	const second = `menuentry "to\"k\$-1.0" {
    linux /tok/1.0/vm\ linuz root=x a="b \$c;d" e\;f\{g\}
    initrd /tok/a /tok/b\'c
    devicetree /tok/1.0/x.dtb
}
`
	for _, tt := range []struct {
		menus GrubMenus
		want  string
	}{
		{GrubMenus{}, ""},
		{GrubMenus{EFI: []Entry{uki, linux}}, "if [ \"${grub_platform}\" == \"efi\" ]; then\n" + first + second + "fi\n"},
		{
			GrubMenus{EFI: []Entry{linux}, BIOS: []Entry{uki, linux}, RootOption: "root=x"},
			"if [ \"${grub_platform}\" == \"efi\" -o \"${grub_platform}\" == \"pc\" ]; then\n" + second + "fi\n",
		},
		{
			GrubMenus{EFI: []Entry{uki}, BIOS: []Entry{uki, {ID: "a", Linux: "/l"}, {ID: "b", Linux: "/l", Options: "quiet"}}, RootOption: "root=y"},
			"if [ \"${grub_platform}\" == \"efi\" ]; then\nmenuentry \"tok-2.0\" {\n    chainloader /EFI/Linux/tok-2.0.efi\n}\nfi\n" +
				"if [ \"${grub_platform}\" == \"pc\" ]; then\nmenuentry \"a\" {\n    linux /l root=y\n}\nmenuentry \"b\" {\n    linux /l root=y quiet\n}\nfi\n",
		},
		{
			GrubMenus{EFI: []Entry{uki}, BIOS: []Entry{{ID: "a", Linux: "/l l"}}, Search: true},
			"if [ \"${grub_platform}\" == \"efi\" ]; then\nmenuentry \"tok-2.0\" {\n" +
				"    search --no-floppy --set=root --file /EFI/Linux/tok-2.0.efi\n    chainloader /EFI/Linux/tok-2.0.efi\n}\nfi\n" +
				"if [ \"${grub_platform}\" == \"pc\" ]; then\nmenuentry \"a\" {\n" +
				"    search --no-floppy --set=root --file /l\\ l\n    linux /l\\ l \n}\nfi\n",
		},
	} {
		root := t.TempDir()
		if err := WriteGrubConfig(root, tt.menus); err != nil {
			t.Fatal(err)
		}
		sameFiles(t, readTree(t, root, "."), map[string]string{"efi/grub/grub.cfg": "set timeout=0\n" + tt.want})
	}
}

// With Secure Boot, shim starts no grub without the section .sbat, which is taken from a grub that the distribution has
// built.
func TestInstallGrubEFIBehindShim(t *testing.T) {
	o := grubTree(t)
	o.Shim, o.RunInImage, o.Run = true, nil, fakeMkimage
	if err := InstallGrubEFI(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if made := readTree(t, o.Root, "efi")[bootDir+"grubx64.EFI"]; !strings.Contains(made, "--format=x86_64-efi cat ") {
		t.Errorf("without Secure Boot, grub is made with %s", made)
	}
	o.Sign = fakeSign
	sbat := ""
	o.Run = func(ctx context.Context, c program.Command) error {
		if err := fakeMkimage(ctx, c); err != nil {
			return err
		}
		for _, arg := range c.Args {
			if path, ok := strings.CutPrefix(arg, "--sbat="); ok {
				b, err := os.ReadFile(path)
				sbat = string(b)
				return err
			}
		}
		return errors.New("there is no option --sbat")
	}
	isMissing(t, InstallGrubEFI(t.Context(), o), "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi", "ShimBootloader=none")
	built := o.Root + "/usr/lib/grub/x86_64-efi/monolithic"
	if err := os.Mkdir(built, 0o755); err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"no program": "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi",
		string(petest.Program(petest.Section{Name: ".text", Text: "x"})):              "no section .sbat",
		string(petest.Program(petest.Section{Name: ".sbat", Text: "sbat,1\ngrub,7"})): "",
	} {
		if err := os.WriteFile(built+"/grubx64.efi", []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		err := InstallGrubEFI(t.Context(), o)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if sbat != "sbat,1\ngrub,7" {
		t.Errorf("grub-mkimage got %q", sbat)
	}
	made := readTree(t, o.Root, "efi")
	if !strings.HasPrefix(made[bootDir+"grubx64.EFI"], "signed grub-mkimage ") {
		t.Errorf("grub is %q", made[bootDir+"grubx64.EFI"])
	}
	delete(made, bootDir+"grubx64.EFI")
	sameFiles(t, made, map[string]string{
		"efi/EFI/debian/grub.cfg":    "configfile /grub/grub.cfg\n",
		"efi/grub/fonts/unicode.pf2": "font",
	})
}
