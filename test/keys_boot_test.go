//go:build integration

package test

import (
	"crypto/x509"
	"debug/pe"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/variable"
	"github.com/mkosi-go/mkosi/internal/inspect"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// bootWithToken signs all that an image boots with, with keys that never leave their token: an RSA key through a provider,
// and an elliptic one through an engine, of which a build warns.
func bootWithToken(t *testing.T, k token) {
	dir := filepath.Join(k.dir, "boot")
	loaderBase(t, filepath.Join(dir, "base"))
	writeFile(t, filepath.Join(dir, "initrd.img"), []byte("an initrd"), 0o644)
	for id, kind := range map[string]string{"rsa": "provider", "ec": "engine"} {
		conf := "[Distribution]\nDistribution=debian\nRelease=trixie\n[Output]\nFormat=directory\nOutput=" + id + "\nSeed=" + testSeed + "\n" +
			"[Content]\nBaseTrees=base\nBootable=yes\nInitrds=initrd.img\n" +
			"[Validation]\nSecureBoot=yes\nSecureBootAutoEnroll=yes\nSignExpectedPcr=yes\n[Build]\nExtraSearchPaths=" + k.programs + "\n[Validation]\n"
		key := k.reference(id, kind+":pkcs11")
		for _, name := range []string{"SecureBoot", "SignExpectedPcr"} {
			for setting, value := range map[string]string{
				"Key": key.Key, "KeySource": key.KeySource, "Certificate": key.Certificate, "CertificateSource": key.CertificateSource,
			} {
				conf += name + setting + "=" + value + "\n"
			}
		}
		writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte(conf), 0o644)
		r := run(t, mkosi(dir, "--debug", "build"))
		if r.code != 0 {
			t.Fatalf("exit code %d\n%s", r.code, r.stderr)
		}
		if strings.Contains(r.stderr+r.stdout, tokenPIN) {
			t.Errorf("the PIN was printed:\n%s%s", r.stdout, r.stderr)
		}
		if warned := strings.Contains(r.stderr, "the key is for ECDSA with P-256"); warned != (id == "ec") {
			t.Errorf("warned of the key %s: %v", id, warned)
		}
		checkBootSignatures(t, k, filepath.Join(dir, id), id)
	}
}

// checkBootSignatures checks what is signed in a tree: programs for firmware, the policies in a unified kernel image, and
// the keys to enrol.
func checkBootSignatures(t *testing.T, k token, tree, id string) {
	t.Helper()
	cert, err := keys.LoadCertificate(filepath.Join(k.dir, id+".crt"))
	if err != nil {
		t.Fatal(err)
	}
	images, err := filepath.Glob(filepath.Join(tree, "boot/EFI/Linux/*.efi"))
	if err != nil || len(images) != 1 {
		t.Fatalf("the unified kernel images are %q, %v", images, err)
	}
	programs := append(images, filepath.Join(tree, "efi/EFI/BOOT/BOOTX64.EFI"))
	for _, program := range programs {
		im := inspectImage(t, program, cert)
		if wrong := wrongChecks(im); len(wrong) != 0 || len(im.Content.Program.Signatures) != 1 {
			t.Errorf("%s: %+v, signatures %+v", program, wrong, im.Content.Program.Signatures)
		}
		for _, b := range im.Content.Program.Boots {
			if b.Policies == 0 || b.PoliciesState != inspect.Good {
				t.Errorf("%s: %d policies, %s", program, b.Policies, b.PoliciesState)
			}
		}
	}
	must(t, reference(k.dir, append([]string{"bash", "-euc", `cert=$1; shift; for f; do sbverify --cert "$cert" "$f"; done`, "_",
		filepath.Join(k.dir, id+".crt")}, programs...)...))
	checkPolicies(t, k, images[0], id)
	for _, v := range []variable.ID{variable.PlatformKey(), variable.ExchangeKeys(), variable.Allowed()} {
		files, err := filepath.Glob(filepath.Join(tree, "efi/loader/keys/auto", v.Name+".auth"))
		if err != nil || len(files) != 1 {
			t.Fatalf("the files of %s are %q, %v", v.Name, files, err)
		}
		update, err := variable.ParseUpdate(readFile(t, files[0]))
		if err == nil {
			_, err = update.Verify(v, variable.KeyAttributes, []*x509.Certificate{cert})
		}
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// checkPolicies has openssl verify the policies in a unified kernel image with the certificate of a key.
func checkPolicies(t *testing.T, k token, image, id string) {
	t.Helper()
	f, err := pe.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := map[string]string{}
	for _, name := range []string{".pcrsig", ".pcrpkey"} {
		b, err := f.Section(name).Data()
		if err != nil {
			t.Fatal(err)
		}
		text[name] = strings.TrimRight(string(b), "\x00")
	}
	public := must(t, exec.Command("openssl", "x509", "-in", filepath.Join(k.dir, id+".crt"), "-noout", "-pubkey"))
	if text[".pcrpkey"] != public {
		t.Errorf("the public key is %q, not %q", text[".pcrpkey"], public)
	}
	writeFile(t, filepath.Join(k.dir, "public"), []byte(public), 0o644)
	list, err := pcr.ParsePolicies([]byte(text[".pcrsig"]))
	if err != nil {
		t.Fatal(err)
	}
	if len(list["sha256"]) != len(pcr.Phases())+1 {
		t.Errorf("there are %d policies", len(list["sha256"]))
	}
	for i, p := range list["sha256"] {
		signature, signed := fmt.Sprintf("policy-%d.sig", i), fmt.Sprintf("policy-%d", i)
		writeFile(t, filepath.Join(k.dir, signature), p.Signature, 0o644)
		writeFile(t, filepath.Join(k.dir, signed), p.Signed(), 0o644)
		k.verify(t, "dgst", "-sha256", "-verify", "public", "-signature", signature, signed)
	}
}
