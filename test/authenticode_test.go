//go:build integration

package test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	le "encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/authenticode"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/inspect"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// signProgram adds our signature to a program.
func signProgram(t *testing.T, path string, key crypto.Signer, cert *x509.Certificate) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authenticode.Sign(f, fi.Size(), key, cert); err != nil {
		t.Fatal(err)
	}
}

// testPair makes a key and a certificate in a folder, as mkosi.key and mkosi.crt.
func testPair(t *testing.T, dir string) (crypto.Signer, *x509.Certificate) {
	t.Helper()
	testKeys(t, dir)
	key, cert, err := keys.LoadPair(filepath.Join(dir, "mkosi.key"), filepath.Join(dir, "mkosi.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// gapped is a program with padding in front of its last section, and data after that, which have rules of their own.
func gapped(t *testing.T, b []byte) []byte {
	t.Helper()
	f, err := pe.ParseHeader(b[:min(len(b), pe.MaxHeaders)], int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	sections := f.InFileOrder()
	last := sections[len(sections)-1]
	table := bytes.Index(b, append([]byte(last.Name), make([]byte, 8-len(last.Name))...))
	const gap = 4096
	moved := slices.Concat(b[:last.Offset], make([]byte, gap), b[last.Offset:last.End()], []byte("and this follows"))
	le.LittleEndian.PutUint32(moved[table+20:], uint32(last.Offset+gap))
	return moved
}

// What we sign, sbverify accepts: a boot loader, a unified kernel image, a program with gaps, and all of them when other
// programs signed them before. Those add their signatures to ours, too; and of a program with one flipped bit, nobody
// accepts any.
func TestAuthenticode(t *testing.T) {
	dir := t.TempDir()
	key, cert := testPair(t, dir)
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	_, otherCert := testPair(t, other)
	const loader = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
	program := readFile(t, filepath.Join(referenceRoot(), loader))
	writeFile(t, filepath.Join(dir, "loader.efi"), program, 0o644)
	writeFile(t, filepath.Join(dir, "gapped.efi"), gapped(t, program), 0o644)
	must(t, reference(dir, "sh", "-euc", strings.Join([]string{
		"ukify build --linux=" + loader + " --cmdline=quiet --uname=6.1 --stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub --output=uki.efi",
		"for name in loader uki gapped; do",
		"sbsign --key other/mkosi.key --cert other/mkosi.crt --output $name-sbsign.efi $name.efi",
		"/usr/lib/systemd/systemd-sbsign sign --private-key=other/mkosi.key --certificate=other/mkosi.crt --output=$name-systemd.efi $name.efi",
		"done",
	}, "\n")))
	programs := map[string]int{}
	for _, name := range []string{"loader", "uki", "gapped"} {
		programs[name+".efi"], programs[name+"-sbsign.efi"], programs[name+"-systemd.efi"] = 1, 2, 2
	}
	script := []string{"set -eu"}
	for name, signatures := range programs {
		path := filepath.Join(dir, name)
		signProgram(t, path, key, cert)
		im := inspectImage(t, path, cert, otherCert)
		if wrong := wrongChecks(im); len(wrong) != 0 || len(im.Content.Program.Signatures) != signatures {
			t.Errorf("%s: %+v, signatures %+v", name, wrong, im.Content.Program.Signatures)
		}
		script = append(script, "sbverify --cert mkosi.crt "+name)
		if signatures == 2 {
			script = append(script, "sbverify --cert other/mkosi.crt "+name)
		}
		b := readFile(t, path)
		b[len(b)/3] ^= 1
		writeFile(t, filepath.Join(dir, "flipped-"+name), b, 0o644)
		for _, s := range inspectImage(t, filepath.Join(dir, "flipped-"+name), cert, otherCert).Content.Program.Signatures {
			if s.State == inspect.Good || !strings.Contains(s.State, "the program was changed") {
				t.Errorf("%s with a flipped bit: %+v", name, s)
			}
		}
		script = append(script, "if sbverify --cert mkosi.crt flipped-"+name+"; then exit 1; fi")
	}
	// Signed by us first, then by the others.
	script = append(script,
		"sbsign --key other/mkosi.key --cert other/mkosi.crt --output after-sbsign.efi loader.efi",
		"/usr/lib/systemd/systemd-sbsign sign --private-key=other/mkosi.key --certificate=other/mkosi.crt --output=after-systemd.efi uki.efi",
		"for cert in mkosi.crt other/mkosi.crt; do sbverify --cert $cert after-sbsign.efi; sbverify --cert $cert after-systemd.efi; done",
		"for name in loader uki; do sbattach --remove $name.efi; sbverify --list $name.efi 2>&1 | grep -q 'No signature table present'; done",
	)
	must(t, reference(dir, "bash", "-c", strings.Join(script, "\n")))
	for _, name := range []string{"after-sbsign.efi", "after-systemd.efi"} {
		im := inspectImage(t, filepath.Join(dir, name), cert, otherCert)
		if wrong := wrongChecks(im); len(wrong) != 0 || len(im.Content.Program.Signatures) != 2 {
			t.Errorf("%s: %+v, signatures %+v", name, wrong, im.Content.Program.Signatures)
		}
	}
}
