//go:build integration

package test

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/keys"
)

// tokenPIN is a PIN that is found wherever it should not be.
const tokenPIN = "4711-is-secret"

// token is a token of softhsm2 with two keys, named rsa and ec, each with its certificate.
type token struct {
	dir string
	// programs is a directory with an openssl that has modules for tokens.
	programs string
}

// newToken makes a token in dir. All programs that know tokens are those of the root with the tools of machines.
func newToken(t *testing.T, dir string) token {
	t.Helper()
	k := token{dir: dir, programs: filepath.Join(dir, "programs")}
	root := cmp.Or(os.Getenv("MKOSI_MACHINE_ROOT"), "/var/tmp/mkosi-machine")
	const module = "/usr/lib/softhsm/libsofthsm2.so"
	writeFile(t, filepath.Join(dir, "softhsm2.conf"), []byte("directories.tokendir = "+dir+"/tokens\n"), 0o644)
	// The last line keeps softhsm2, which uses OpenSSL itself, from crashing when openssl ends.
	writeFile(t, filepath.Join(dir, "openssl.cnf"), []byte("openssl_conf = init\n[init]\nproviders = providers\n"+
		"[providers]\ndefault = builtin\npkcs11 = token\n[builtin]\nactivate = 1\n"+
		"[token]\nactivate = 1\npkcs11-module-path = "+module+"\npkcs11-module-quirks = no-deinit\n"), 0o644)
	for name, variables := range map[string]string{
		"openssl":       fmt.Sprintf("OPENSSL_CONF=%q/openssl.cnf PKCS11_MODULE_PATH=%s", dir, module),
		"softhsm2-util": "", "pkcs11-tool": "",
	} {
		script := fmt.Sprintf("#!/bin/sh\nexec %q/test/machine --share %q %q env SOFTHSM2_CONF=%q/softhsm2.conf %s %s \"$@\"\n",
			project, dir, root, dir, variables, name)
		writeFile(t, filepath.Join(k.programs, name), []byte(script), 0o755)
	}
	writeFile(t, filepath.Join(dir, "pin"), []byte(tokenPIN), 0o600)
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	k.must(t, "softhsm2-util", "--init-token", "--free", "--label", "test", "--pin", tokenPIN, "--so-pin", "12345678")
	login := []string{"--module", module, "--token-label", "test", "--login", "--pin", tokenPIN}
	for id, kind := range map[string]string{"rsa": "rsa:2048", "ec": "EC:prime256v1"} {
		object := []string{"--label", id, "--id", fmt.Sprintf("%x", id)}
		k.must(t, "pkcs11-tool", append(append(login, "--keypairgen", "--key-type", kind), object...)...)
		crt := filepath.Join(dir, id+".crt")
		k.must(t, "openssl", "req", "-x509", "-new", "-subj", "/CN="+id, "-days", "10", "-key", k.private(id)+"?pin-source=file:"+dir+"/pin", "-out", crt)
		k.must(t, "openssl", "x509", "-in", crt, "-outform", "DER", "-out", crt+".der")
		k.must(t, "pkcs11-tool", append(append(login, "--write-object", crt+".der", "--type", "cert"), object...)...)
	}
	return k
}

func (k token) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	return must(t, exec.Command(filepath.Join(k.programs, name), args...))
}

// verify runs an openssl that knows nothing of the token.
func (k token) verify(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = k.dir
	must(t, cmd)
}

func (k token) private(id string) string { return "pkcs11:token=test;object=" + id + ";type=private" }

// reference names a key by its source, with the PIN in the URI.
func (k token) reference(id, source string) keys.Reference {
	r := keys.Reference{Key: k.private(id) + "?pin-value=" + tokenPIN, KeySource: source}
	r.Certificate, r.CertificateSource = "pkcs11:token=test;object="+id+";type=cert", "provider:pkcs11"
	return r
}

func TestTokenKeys(t *testing.T) {
	k := newToken(t, t.TempDir())
	t.Run("sign", func(t *testing.T) { signWithToken(t, k) })
	t.Run("build", func(t *testing.T) { buildWithToken(t, k) })
	t.Run("boot", func(t *testing.T) { bootWithToken(t, k) })
}

// signWithToken has keys sign what they are asked to, through a provider and through an engine.
func signWithToken(t *testing.T, k token) {
	dir := k.dir
	digest := sha256.Sum256([]byte("content"))
	writeFile(t, filepath.Join(dir, "content"), []byte("content"), 0o644)
	writeFile(t, filepath.Join(dir, "digest"), digest[:], 0o644)
	for _, test := range []struct {
		id, source string
		opts       crypto.SignerOpts
		options    string // of openssl, to verify it
	}{
		{"rsa", "provider:pkcs11", crypto.SHA256, ""},
		{"rsa", "provider:pkcs11", &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash},
			"-pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest"},
		{"ec", "provider:pkcs11", crypto.SHA256, ""},
		{"rsa", "engine:pkcs11", crypto.SHA256, ""},
		{"ec", "engine:pkcs11", crypto.SHA256, ""},
	} {
		openssl := keys.OpenSSL{Dirs: []string{k.programs}, Env: os.Environ()}
		key, cert, err := keys.Load(t.Context(), k.reference(test.id, test.source), openssl.Run)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := key.Sign(nil, digest[:], test.opts)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "signature"), signature, 0o644)
		options := strings.Fields("pkeyutl -verify -certin -pkeyopt digest:sha256 -sigfile signature -in digest " + test.options)
		k.verify(t, append(options, "-inkey", test.id+".crt")...)
		der, err := keys.SignPKCS7Detached(key, cert, []byte("content"))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "p7s"), der, 0o644)
		k.verify(t, "smime", "-verify", "-binary", "-inform", "DER", "-in", "p7s", "-content", "content",
			"-certfile", test.id+".crt", "-CAfile", test.id+".crt", "-purpose", "any")
		// That of a longer digest has been verified when it is returned.
		if _, err := key.Sign(nil, crypto.SHA512.New().Sum(nil), crypto.SHA512); err != nil {
			t.Error(err)
		}
		if _, isEC := key.Public().(*ecdsa.PublicKey); isEC != (test.id == "ec") {
			t.Errorf("the key %s is of type %T", test.id, key.Public())
		}
	}
}

// buildWithToken signs an image with a key that never leaves its token, at once or later. The PIN stays where it belongs.
func buildWithToken(t *testing.T, k token) {
	dir := k.dir
	project := filepath.Join(dir, "project")
	for name, text := range map[string]string{
		"10-root": "Type=root\nFormat=erofs\nCopyFiles=/\nVerity=data\nVerityMatchKey=root\nMinimize=best\n",
		"11-hash": "Type=root-verity\nVerity=hash\nVerityMatchKey=root\nMinimize=best\n",
		"12-sig":  "Type=root-verity-sig\nVerity=signature\nVerityMatchKey=root\n",
	} {
		writeFile(t, filepath.Join(project, "mkosi.repart", name+".conf"), []byte("[Partition]\n"+text), 0o644)
	}
	conf := func(key, verity string) {
		writeFile(t, filepath.Join(project, "mkosi.conf"), []byte("[Distribution]\nDistribution=debian\nRelease=trixie\n"+
			"[Output]\nFormat=disk\nOutput=image\nSeed="+testSeed+"\n[Content]\nBootable=no\nBaseTrees="+smallTree(t)+"\n"+
			"[Validation]\nVerity="+verity+"\nVerityKeySource=provider:pkcs11\nVerityKey="+key+"\n"+
			"VerityCertificateSource=provider:pkcs11\nVerityCertificate=pkcs11:token=test;object=rsa;type=cert\n"+
			"[Build]\nExtraSearchPaths="+k.programs+"\n"), 0o644)
	}
	image := filepath.Join(project, "image.raw")
	check := func(r result) {
		t.Helper()
		if r.code != 0 {
			t.Fatalf("exit code %d\n%s", r.code, r.stderr)
		}
		parts := partitions(t, image)
		extract(t, image, parts[2], filepath.Join(dir, "sig"))
		var sig struct{ Signature string }
		if err := json.Unmarshal(bytes.TrimRight(readFile(t, filepath.Join(dir, "sig")), "\x00"), &sig); err != nil {
			t.Fatal(err)
		}
		hash := strings.ToLower(strings.ReplaceAll(parts[0].UUID+parts[1].UUID, "-", ""))
		checkSignature(t, dir, sig.Signature, hash, filepath.Join(dir, "rsa.crt"))
		if strings.Contains(r.stderr+r.stdout, tokenPIN) {
			t.Errorf("the PIN was printed:\n%s%s", r.stdout, r.stderr)
		}
	}
	conf(k.private("rsa")+"?pin-value="+tokenPIN, "signed")
	check(run(t, mkosi(project, "--debug", "build")))
	conf(k.private("rsa")+"?pin-source=file:"+filepath.Join(dir, "pin"), "defer")
	must(t, mkosi(project, "--force", "build"))
	check(run(t, mkosi(project, "--debug", "--verity-key-source", "engine:pkcs11", "sign", image)))

	// What is wrong with a key is told before anything is built.
	for key, want := range map[string]string{
		k.private("rsa"): "the URI names no PIN",
		k.private("rsa") + "?pin-value=wrong-pin": "reading the private key",
		k.private("no") + "?pin-value=wrong-pin":  "reading the private key",
	} {
		conf(key, "signed")
		r := run(t, mkosi(project, "--force", "--debug", "build"))
		if r.code != 2 || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "wrong-pin") {
			t.Errorf("%s: exit code %d\n%s", key, r.code, r.stderr)
		}
	}
}
