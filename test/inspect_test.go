//go:build integration

package test

import (
	"bytes"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mkosi-go/mkosi/internal/inspect"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// inspectImage describes an image.
func inspectImage(t *testing.T, path string, certs ...*x509.Certificate) *inspect.Image {
	t.Helper()
	s, err := inspect.Open(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	im, err := inspect.Inspect(t.Context(), s, inspect.Options{Certificates: certs, Blame: true})
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// wrongChecks are those that found something wrong.
func wrongChecks(im *inspect.Image) []inspect.Check {
	var list []inspect.Check
	for _, c := range im.Checks() {
		if !c.Good {
			list = append(list, c)
		}
	}
	return list
}

// testKeys makes a key pair in dir and returns the certificate.
func testKeys(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	key, cert, err := keys.Generate(keys.GenerateOptions{CommonName: "inspect test", ValidDays: 10, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.WriteFiles(filepath.Join(dir, "mkosi.key"), filepath.Join(dir, "mkosi.crt"), key, cert, true); err != nil {
		t.Fatal(err)
	}
	c, err := keys.LoadCertificate(filepath.Join(dir, "mkosi.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// repartImage has systemd-repart make a disk with everything that can be
// looked into, and returns the folder that it was made of.
func repartImage(t *testing.T, dir, image string) string {
	t.Helper()
	root, definitions := filepath.Join(dir, "tree"), filepath.Join(dir, "repart.d")
	for name, text := range map[string]string{
		"tree/usr/lib/os-release":   "ID=test\nPRETTY_NAME=\"A test\"\n",
		"tree/usr/share/text":       strings.Repeat("some text in a file\n", 50000),
		"tree/boot/EFI/Linux/x.efi": "not a program",
		"repart.d/00-esp.conf":      "Type=esp\nFormat=vfat\nCopyFiles=/boot:/\nSizeMinBytes=40M\nSizeMaxBytes=40M\n",
		"repart.d/10-root.conf":     "Type=root\nFormat=ext4\nCopyFiles=/usr:/usr\nVerity=data\nVerityMatchKey=root\nMinimize=guess\n",
		"repart.d/20-hash.conf":     "Type=root-verity\nVerity=hash\nVerityMatchKey=root\nMinimize=best\n",
		"repart.d/30-sig.conf":      "Type=root-verity-sig\nVerity=signature\nVerityMatchKey=root\n",
		"repart.d/40-swap.conf":     "Type=swap\nFormat=swap\nSizeMinBytes=1M\nSizeMaxBytes=1M\n",
		"repart.d/50-home.conf":     "Type=home\nFormat=ext4\nEncrypt=key-file\nSizeMinBytes=24M\nSizeMaxBytes=24M\n",
	} {
		if strings.HasSuffix(name, ".conf") {
			text = "[Partition]\n" + text
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "passphrase"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	diskRepart(t, dir, root, definitions, image, "--private-key="+filepath.Join(dir, "mkosi.key"),
		"--certificate="+filepath.Join(dir, "mkosi.crt"), "--key-file="+filepath.Join(dir, "passphrase"))
	return root
}

func TestInspectRepart(t *testing.T) {
	dir := t.TempDir()
	cert := testKeys(t, dir)
	image := filepath.Join(dir, "image.raw")
	root := repartImage(t, dir, image)
	im := inspectImage(t, image, cert)
	if wrong := wrongChecks(im); len(wrong) > 0 || !im.Verifiable() {
		t.Errorf("found wrong: %+v", wrong)
	}
	holds := map[string]inspect.Format{}
	byType := map[string]*inspect.Partition{}
	for i := range im.Partitions {
		p := &im.Partitions[i]
		holds[p.Type], byType[p.Type] = p.Content.Format, p
		if p.Content.Problem != "" {
			t.Errorf("%s: %s", p.Type, p.Content.Problem)
		}
	}
	for kind, want := range map[string]inspect.Format{
		"esp": inspect.FormatVFAT, "root-x86-64": inspect.FormatExt, "root-x86-64-verity": inspect.FormatVerity,
		"root-x86-64-verity-sig": inspect.FormatSignature, "swap": inspect.FormatSwap, "home": inspect.FormatLUKS,
	} {
		if holds[kind] != want {
			t.Errorf("%s holds %q, want %q", kind, holds[kind], want)
		}
	}
	data := byType["root-x86-64"]
	if r := data.Content.Releases; len(r) != 1 || r[0].Fields["PRETTY_NAME"] != "A test" {
		t.Errorf("releases %+v", r)
	}
	if l := byType["home"].Content.LUKS; l == nil || len(l.Slots) != 1 || l.Cipher != "aes-xts-plain64" {
		t.Errorf("LUKS %+v", l)
	}
	uuid := strings.TrimSpace(must(t, reference(dir, "cryptsetup", "luksUUID", part(t, dir, image, byType["home"]))))
	if got := byType["home"].Content.LUKS.UUID; got != uuid {
		t.Errorf("LUKS UUID %s, cryptsetup says %s", got, uuid)
	}
	compareWithTree(t, image, root)
	damageImage(t, dir, image, cert, data)
}

// part copies a partition into a file of its own.
func part(t *testing.T, dir, image string, p *inspect.Partition) string {
	t.Helper()
	path := filepath.Join(dir, "part-"+p.Type)
	extract(t, image, partition{Start: p.Offset / sector, Size: p.Size / sector}, path)
	return path
}

// compareWithTree compares the root of an image with the folder it was made
// of.
func compareWithTree(t *testing.T, image, root string) {
	t.Helper()
	out := run(t, exec.Command(binary, "diff", image, root, "--ignore=mtime,xattrs"))
	if out.code != 1 || strings.Contains(out.stdout, "/usr") || !strings.Contains(out.stdout, "/boot/EFI/Linux/x.efi") {
		t.Errorf("diff: exit code %d\n%s%s", out.code, out.stdout, out.stderr)
	}
}

// damageImage changes copies of an image in some places, and looks whether that
// is found.
func damageImage(t *testing.T, dir, image string, cert *x509.Certificate, data *inspect.Partition) {
	t.Helper()
	good, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	within := bytes.Index(good[data.Offset:], []byte("some text in a file")) + 5*4096 + 100
	for name, tt := range map[string]struct {
		change func(b []byte)
		what   string
	}{
		"data":    {func(b []byte) { b[data.Offset+int64(within)] ^= 1 }, "hash tree"},
		"primary": {func(b []byte) { b[sector+60] ^= 1 }, "primary partition table"},
		"backup":  {func(b []byte) { clear(b[len(b)-sector:]) }, "backup partition table"},
	} {
		path := filepath.Join(dir, "damaged-"+name)
		b := bytes.Clone(good)
		tt.change(b)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		im := inspectImage(t, path, cert)
		wrong := wrongChecks(im)
		if len(wrong) != 1 || wrong[0].What != tt.what || len(im.Partitions) != 6 {
			t.Errorf("%s: %d partitions, %+v", name, len(im.Partitions), wrong)
			continue
		}
		if name != "data" {
			continue
		}
		block := int64(within) / 4096
		if bad := wrong[0].Bad; len(bad) != 1 || bad[0].Block != block || bad[0].DiskOffset != data.Offset+block*4096 || bad[0].File != "/usr/share/text" {
			t.Errorf("changed block %d at %d, found %+v", block, data.Offset+block*4096, bad)
		}
		out := run(t, exec.Command(binary, "-C", dir, "verify", path))
		if out.code != 1 || !strings.Contains(out.stdout, "part of /usr/share/text") {
			t.Errorf("verify: exit code %d\n%s%s", out.code, out.stdout, out.stderr)
		}
	}
}

// Signed programs are judged as sbverify judges them.
func TestInspectUKI(t *testing.T) {
	dir := t.TempDir()
	cert := testKeys(t, dir)
	for name, text := range map[string]string{"initrd": strings.Repeat("initrd", 10000), "osrel": "ID=test\nPRETTY_NAME=UKI\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must(t, reference(dir, "ukify", "build", "--linux=/usr/lib/systemd/boot/efi/systemd-bootx64.efi", "--initrd=initrd", "--os-release=@osrel", "--cmdline=quiet splash", "--uname=6.1",
		"--stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub", "--signtool=sbsign", "--secureboot-private-key=mkosi.key", "--secureboot-certificate=mkosi.crt", "--output=uki.efi"))
	must(t, reference(dir, "sbverify", "--cert", "mkosi.crt", "uki.efi"))
	path := filepath.Join(dir, "uki.efi")
	im := inspectImage(t, path, cert)
	p := im.Content.Program
	if im.Kind != inspect.KindPE || !p.UKI || p.CommandLine != "quiet splash" || p.Uname != "6.1" || p.Release.Fields["PRETTY_NAME"] != "UKI" {
		t.Errorf("%+v", p)
	}
	if s := p.Signatures; len(s) != 1 || s[0].State != inspect.Good {
		t.Errorf("signatures %+v", s)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, []byte("initrdinitrd"))] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if v := run(t, reference(dir, "sbverify", "--cert", "mkosi.crt", "uki.efi")); v.code == 0 {
		t.Error("sbverify accepts a changed image")
	}
	if wrong := wrongChecks(inspectImage(t, path, cert)); len(wrong) != 1 || !strings.Contains(wrong[0].Detail, "changed") {
		t.Errorf("changed: %+v", wrong)
	}
}
