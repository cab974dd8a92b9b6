//go:build integration

package test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/efi/uki"
)

// ukiParts are small parts of images, in a directory where ukify finds them.
type ukiParts struct {
	dir  string
	stub *io.SectionReader
	plug *io.SectionReader // the stub of addons
	key  crypto.Signer
}

const efiDir = "usr/lib/systemd/boot/efi"

func newUKIParts(t *testing.T) *ukiParts {
	t.Helper()
	// Not in /tmp, which the reference does not see.
	dir, err := os.MkdirTemp(sharedDir, "uki-")
	if err != nil {
		t.Fatal(err)
	}
	p := &ukiParts{dir: dir}
	for name, source := range map[string]string{"stub": "linuxx64.efi.stub", "plug": "addonx64.efi.stub", "kernel": "systemd-bootx64.efi"} {
		// systemd-boot serves as a kernel: it is a program for firmware with
		// components for revocation.
		b, err := os.ReadFile(filepath.Join(referenceRoot(), efiDir, source))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(p.dir, name), b, 0o644)
	}
	noise := make([]byte, 100001)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	for name, text := range map[string]string{
		"initrd1": string(noise[:1001]), "initrd2": string(noise), "initrd3": "abcd", "splash": "BM picture", "dtb": "devicetree", "dtb1": "devicetree one", "dtb2": "devicetree two",
		"ucode": "microcode", "osrel": "ID=test\nVERSION_ID=1\n", "profile": "ID=main\nTITLE=Main", "extra": "something else", "cmdline": "root=/dev/sda  quiet\x00", "one": "ID=one\nTITLE=\"One\"\n", "noise": string(noise[:777]),
		"firmware/some.bin": "firmware", "sbat": ukiSBAT, "empty": "",
		"hwids/a.json":     `{"type": "devicetree", "name": "Laptop", "compatible": "example,laptop", "hwids": ["5dc05bf4-01f6-4089-b464-a08c47ea9295", "3e3f8f3c-2003-46f2-811c-85554f7d5952", "00000100-ffff-0000-0000-000000000003"]}`,
		"hwids/sub-b.json": `{"type": "devicetree", "name": "Board", "compatible": "Laptop", "hwids": ["11c05bf4-01f6-4089-b464-a08c47ea9295"]}`,
		"hwids/sub/c.json": `{"type": "uefi-fw", "name": "Board", "fwid": "firmware", "hwids": ["00c05bf4-01f6-4089-b464-a08c47ea9295", "00c05bf4-01f6-4089-b464-a08c47ea9295"]}`,
		"hwids/sub/d.json": `{"type": "devicetree", "name": "Laptop", "compatible": "example,laptop", "hwids": ["3e3f8f3c-2003-46f2-811c-85554f7d5952", "21c05bf4-01f6-4089-b464-a08c47ea9295"]}`,
		"hwids/sub/e.json": `{"type": "uefi-fw", "name": "Laptop", "fwid": "example,laptop", "hwids": ["3e3f8f3c-2003-46f2-811c-85554f7d5952"]}`,
		"hwids/README":     "not a description",
	} {
		writeFile(t, filepath.Join(p.dir, name), []byte(text), 0o644)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(p.dir, "key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	public, err := pcr.PublicKeyPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(p.dir, "public"), []byte(public), 0o644)
	p.key, p.stub, p.plug = key, p.file(t, "stub"), p.file(t, "plug")
	return p
}

const ukiSBAT = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\nmine,1,Mine,mine,1,https://example.com/\n"

func (p *ukiParts) file(t *testing.T, name string) *io.SectionReader {
	t.Helper()
	f, err := os.Open(filepath.Join(p.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return io.NewSectionReader(f, 0, info.Size())
}

func (p *ukiParts) files(t *testing.T, names ...string) []*io.SectionReader {
	t.Helper()
	var list []*io.SectionReader
	for _, name := range names {
		list = append(list, p.file(t, name))
	}
	return list
}

func (p *ukiParts) text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ukifyMany runs ukify once for each line of a file: it takes much longer to start than to do its work.
const ukifyMany = `
import contextlib, runpy, shlex, sys
for line in open("commands"):
    words = shlex.split(line)
    with open(words[-1] + ".out", "w") as out, open(words[-1] + ".log", "w") as log:
        sys.argv = ["ukify", "build", *words]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(log):
            try:
                runpy.run_path("/usr/bin/ukify", run_name="__main__")
            except BaseException as e:
                print(repr(e), file=log)
`

// TestUKI assembles images from the same parts as ukify, and compares the bytes.
func TestUKI(t *testing.T) {
	p := newUKIParts(t)
	must(t, reference(p.dir, "zstd", "-q", "kernel"))
	cases := p.cases(t)
	lines := "--stub plug --profile @one --cmdline one --output one.profile\n" +
		"--stub plug --profile ID=two --os-release ID=other --cmdline two --devicetree dtb1 --uname 6.2 --splash noise --initrd initrd3 --microcode noise --output two.profile\n"
	for i, c := range cases {
		lines += fmt.Sprintf("%s --output %d.efi\n", c.args, i)
	}
	writeFile(t, filepath.Join(p.dir, "commands"), []byte(lines), 0o644)
	must(t, reference(p.dir, "python3", "-c", ukifyMany))
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join(p.dir, fmt.Sprintf("%d.efi", i)))
			if err != nil {
				t.Fatalf("ukify: %s", p.text(t, fmt.Sprintf("%d.efi.log", i)))
			}
			got, result := buildUKI(t, c.o)
			writeFile(t, filepath.Join(p.dir, fmt.Sprintf("ours-%d.efi", i)), got, 0o644)
			if !bytes.Equal(got, want) {
				t.Errorf("the images differ, of %d bytes and of %d\n%s\nukify:\n%s", len(got), len(want), listSections(t, got), listSections(t, want))
			}
			if result.Size != int64(len(got)) || (result.KernelProblem != nil) != (c.name == "no kernel") {
				t.Errorf("result %+v", result)
			}
			if strings.Contains(c.name, "to be signed") {
				said := strings.TrimSpace(p.text(t, fmt.Sprintf("%d.efi.out", i)))
				if result.Policies.Text() != said {
					t.Errorf("policies %s\nukify:  %s", result.Policies.Text(), said)
				}
			}
		})
	}
	index := func(name string) int {
		return slices.IndexFunc(cases, func(c ukiCase) bool { return c.name == name })
	}
	compareInspections(t, p, []int{index("profiles, all"), index("signed, two devicetrees")})
}

func buildUKI(t *testing.T, o uki.Options) ([]byte, *uki.Result) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.efi")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	result, err := uki.Build(t.Context(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b, result
}

// listSections is for people to see how two images differ.
func listSections(t *testing.T, b []byte) string {
	t.Helper()
	f, err := pe.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var w strings.Builder
	for _, s := range f.Sections {
		text := b[s.Offset : s.Offset+s.Used()]
		fmt.Fprintf(&w, "%-8s %6x at %6x, in memory %6x at %6x, %x %.120q\n", s.Name, s.Size, s.Offset, s.VirtualSize, s.VirtualAddress, s.Characteristics, text)
	}
	return w.String()
}
