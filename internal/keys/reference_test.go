package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mkosi-go/mkosi/internal/keys/keystest"
)

const (
	testURI = "pkcs11:token=t;object=k;type=private"
	testPIN = "12 34"
)

// token answers as openssl does for the key and the certificate of a token.
type token struct {
	t      *testing.T
	key    crypto.Signer
	cert   []byte // PEM
	pkcs1  bool   // write the public key in the form of PKCS #1
	err    error  // returned beside every answer
	broken bool   // sign something else
	calls  [][]string
}

func (k *token) run(_ context.Context, c Command) ([]byte, error) {
	k.calls = append(k.calls, c.Args)
	for _, a := range c.Args {
		if strings.Contains(a, testPIN) || strings.Contains(a, "pin-value") {
			k.t.Errorf("a PIN in the arguments %q", c.Args)
		}
	}
	if c.Args[0] != "storeutl" && string(c.Secret) != testPIN {
		k.t.Errorf("%q with the PIN %q", c.Args, c.Secret)
	}
	switch c.Args[0] {
	case "storeutl":
		return append([]byte("0: Certificate\n"), k.cert...), k.err
	case "pkey":
		return k.public(), k.err
	case "pkeyutl":
		return k.sign(c), k.err
	}
	k.t.Errorf("called openssl %q", c.Args)
	return nil, k.err
}

func (k *token) public() []byte {
	if k.pkcs1 {
		der := x509.MarshalPKCS1PublicKey(k.key.Public().(*rsa.PublicKey))
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: der})
	}
	der, err := x509.MarshalPKIXPublicKey(k.key.Public())
	if err != nil {
		k.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func (k *token) sign(c Command) []byte {
	var opts crypto.SignerOpts
	for name, hash := range map[string]crypto.Hash{"digest:sha256": crypto.SHA256, "digest:sha384": crypto.SHA384, "digest:sha512": crypto.SHA512} {
		if slices.Contains(c.Args, name) {
			opts = hash
		}
	}
	for option, length := range map[string]int{"max": rsa.PSSSaltLengthAuto, "digest": rsa.PSSSaltLengthEqualsHash, "20": 20} {
		if slices.Contains(c.Args, "rsa_pss_saltlen:"+option) && slices.Contains(c.Args, "rsa_padding_mode:pss") {
			opts = &rsa.PSSOptions{Hash: opts.HashFunc(), SaltLength: length}
		}
	}
	digest := slices.Clone(c.Stdin)
	if k.broken {
		digest[0]++
	}
	signature, err := k.key.Sign(rand.Reader, digest, opts)
	if err != nil {
		k.t.Error(err)
	}
	return signature
}

// rsaToken is a token with a key and the certificate that belongs to it.
func rsaToken(t *testing.T) *token {
	t.Helper()
	keyPEM, certPEM := generate(t)
	key, err := ParseKey(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &token{t: t, key: key, cert: certPEM}
}

func inToken() Reference {
	return Reference{
		Key: testURI + "?pin-value=12%2034", KeySource: "provider:pkcs11",
		Certificate: "pkcs11:object=k;type=cert", CertificateSource: "provider:pkcs11",
	}
}

func TestLoadFromToken(t *testing.T) {
	k := rsaToken(t)
	k.pkcs1 = true
	key, cert, err := Load(t.Context(), inToken(), k.run)
	if err != nil {
		t.Fatal(err)
	}
	der, err := SignPKCS7Detached(key, cert, []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyPKCS7Detached(der, []byte("content"), []*x509.Certificate{cert}); err != nil {
		t.Error(err)
	}
	want := strings.Fields("pkey -provider default -provider pkcs11 -passin fd:3 -in " + testURI + " -pubout")
	if !slices.Equal(k.calls[0], want) {
		t.Errorf("called openssl %q, want %q", k.calls[0], want)
	}
	want = strings.Fields("pkeyutl -sign -provider default -provider pkcs11 -passin fd:3 -inkey " + testURI +
		" -pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pkcs1")
	if !slices.Equal(k.calls[2], want) {
		t.Errorf("called openssl %q, want %q", k.calls[2], want)
	}
}

// A module may crash after its work is done.
func TestTokenThatCrashes(t *testing.T) {
	k := rsaToken(t)
	k.err = errors.New("openssl: signal: segmentation fault")
	key, _, err := Load(t.Context(), inToken(), k.run)
	if err != nil {
		t.Fatal(err)
	}
	digest := crypto.SHA256.New().Sum(nil)
	if _, err := key.Sign(nil, digest, crypto.SHA256); err != nil {
		t.Error(err)
	}
	k.broken = true
	if _, err := key.Sign(nil, digest, crypto.SHA256); !errors.Is(err, k.err) {
		t.Errorf("a wrong signature: %v", err)
	}
	k.err = nil
	if _, err := key.Sign(nil, digest, crypto.SHA256); !errors.Is(err, rsa.ErrVerification) {
		t.Errorf("a wrong signature: %v", err)
	}
}

func TestTokenSigns(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := rsaToken(t).key
	for _, test := range []struct {
		key  crypto.Signer
		opts crypto.SignerOpts
	}{
		{rsaKey, crypto.SHA256},
		{rsaKey, crypto.SHA384},
		{rsaKey, &rsa.PSSOptions{Hash: crypto.SHA512, SaltLength: rsa.PSSSaltLengthAuto}},
		{rsaKey, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash}},
		{rsaKey, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 20}},
		{ec, crypto.SHA256},
		{ec, crypto.SHA512},
	} {
		k := &token{t: t, key: test.key}
		key, err := loadKey(t.Context(), inToken().Key, "engine:pkcs11", k.run)
		if err != nil {
			t.Fatal(err)
		}
		digest := test.opts.HashFunc().New().Sum(nil)
		// That the signature is right has been checked when it is returned.
		if _, err := key.Sign(nil, digest, test.opts); err != nil {
			t.Errorf("%T with %+v: %v", test.key, test.opts, err)
		}
		if want := "-engine pkcs11 -keyform engine -passin"; !strings.Contains(strings.Join(k.calls[1], " "), want) {
			t.Errorf("called openssl %q, want %s", k.calls[1], want)
		}
		if want := "-engine pkcs11 -inform engine -passin"; !strings.Contains(strings.Join(k.calls[0], " "), want) {
			t.Errorf("called openssl %q, want %s", k.calls[0], want)
		}
		if _, err := key.Sign(nil, digest[1:], test.opts); err == nil {
			t.Error("a digest that is too short was signed")
		}
		if _, err := key.Sign(nil, digest[:20], crypto.SHA1); err == nil {
			t.Error("a SHA-1 digest was signed")
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	k := rsaToken(t)
	failed := errors.New("openssl pkey: exit status 1")
	refuse := func(context.Context, Command) ([]byte, error) { return nil, failed }
	change := func(f func(*Reference)) Reference {
		r := inToken()
		f(&r)
		return r
	}
	for name, tt := range map[string]struct {
		r    Reference
		run  RunFunc
		want string
	}{
		"unknown source": {change(func(r *Reference) { r.KeySource = "tpm" }), k.run, `not from "tpm"`},
		"no provider":    {change(func(r *Reference) { r.KeySource = "provider" }), k.run, "lacks a name"},
		"no engine":      {change(func(r *Reference) { r.KeySource = "engine:" }), k.run, "lacks a name"},
		"engine for a certificate": {change(func(r *Reference) { r.CertificateSource = "engine:pkcs11" }), k.run,
			"engines have no certificates"},
		"other certificate": {change(func(r *Reference) {}), func(ctx context.Context, c Command) ([]byte, error) {
			if c.Args[0] == "storeutl" {
				_, cert := generate(t)
				return cert, nil
			}
			return k.run(ctx, c)
		}, "does not belong"},
		"no answer": {inToken(), refuse, "exit status 1"},
		"no PIN":    {change(func(r *Reference) { r.Key = testURI }), refuse, "pin-source"},
		"no certificate": {change(func(r *Reference) {}), func(ctx context.Context, c Command) ([]byte, error) {
			if c.Args[0] == "storeutl" {
				return nil, nil
			}
			return k.run(ctx, c)
		}, "no certificate"},
		"missing file": {Reference{Key: "/nowhere/key", Certificate: "/nowhere/crt"}, k.run, "/nowhere/key"},
	} {
		_, _, err := Load(t.Context(), tt.r, tt.run)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "12%20") || strings.Contains(err.Error(), testPIN) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestCheckReference(t *testing.T) {
	dir := t.TempDir()
	keyPath, certPath := filepath.Join(dir, "k"), filepath.Join(dir, "c")
	keyPEM, certPEM := generate(t)
	if err := WriteFiles(keyPath, certPath, keyPEM, certPEM, false); err != nil {
		t.Fatal(err)
	}
	files := Reference{Key: keyPath, Certificate: certPath, KeySource: "file"}
	for name, r := range map[string]Reference{"files": files, "token": inToken(),
		"certificate in a file": {Key: testURI, KeySource: "engine:pkcs11", Certificate: certPath}} {
		if err := r.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Load(t.Context(), files, nil); err != nil {
		t.Error(err)
	}
	for name, r := range map[string]Reference{
		"no files":       {Key: "/nowhere", Certificate: "/nowhere"},
		"no certificate": {Key: testURI, KeySource: "provider:pkcs11", Certificate: "/nowhere"},
		"no key":         {Key: "/nowhere", Certificate: "x", CertificateSource: "provider:pkcs11"},
		"sources":        {Key: testURI, KeySource: "provider", Certificate: "x", CertificateSource: "engine:pkcs11"},
	} {
		if err := r.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Nothing of an image can be signed with Ed25519.
func TestLoadRefusesEd25519(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := keystest.Certificate(t, key, "ed")
	keyPath, certPath := keystest.Files(t, key, cert)
	files := Reference{Key: keyPath, Certificate: certPath}
	_, _, loadErr := Load(t.Context(), files, nil)
	k := &token{t: t, key: key, cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})}
	_, _, tokenErr := Load(t.Context(), inToken(), k.run)
	_, certErr := LoadCertificateFrom(t.Context(), inToken().Certificate, inToken().CertificateSource, k.run)
	for name, err := range map[string]error{
		"checked": files.Check(), "loaded": loadErr, "in a token": tokenErr, "certificate": files.CheckCertificate(), "certificate in a token": certErr,
	} {
		if err == nil || !strings.Contains(err.Error(), "images cannot be signed with Ed25519") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSplitPIN(t *testing.T) {
	for name, want := range map[string][2]string{
		"pkcs11:object=k":                               {"pkcs11:object=k", ""},
		"pkcs11:object=k?pin-value=1234":                {"pkcs11:object=k", "1234"},
		"pkcs11:object=k?pin-value=1%2b2&module-name=x": {"pkcs11:object=k?module-name=x", "1+2"},
		"pkcs11:object=k?module-name=x&pin-value=1%zz":  {"pkcs11:object=k?module-name=x", "1%zz"},
		"PKCS11:object=k?pin-source=file:/p":            {"PKCS11:object=k?pin-source=file:/p", ""},
		"/a/file?pin-value=1":                           {"/a/file?pin-value=1", ""},
	} {
		uri, pin := splitPIN(name)
		if uri != want[0] || string(pin) != want[1] {
			t.Errorf("%s: %q and %q, want %q", name, uri, pin, want)
		}
	}
}

// The program gets its PIN through a descriptor, and neither a terminal nor more than it is given.
func TestOpenSSL(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$0 $* $A\"\ncat\nif [ \"$1\" = fail ]; then echo why >&2; exit 3; fi\n" +
		"if (exec </dev/tty) 2>/dev/null; then echo terminal; fi\nif [ \"$1\" = secret ]; then cat <&3; fi\n"
	path := filepath.Join(dir, "openssl")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	o := OpenSSL{Dirs: []string{"", "/nowhere", dir}, Env: []string{"A=a", "PATH=" + os.Getenv("PATH")}}
	out, err := o.Run(t.Context(), Command{Args: []string{"secret", "x"}, Stdin: []byte("in\n"), Secret: []byte(testPIN)})
	if want := fmt.Sprintf("%s secret x a\nin\n%s\n", path, testPIN); err != nil || string(out) != want {
		t.Errorf("wrote %q, %v, want %q", out, err, want)
	}
	out, err = o.Run(t.Context(), Command{Args: []string{"fail"}})
	if err == nil || !strings.Contains(err.Error(), "openssl fail: exit status 3:\nwhy") || len(out) == 0 {
		t.Errorf("wrote %q, %v", out, err)
	}
	if _, err := o.Run(t.Context(), Command{Args: []string{"secret"}, Secret: make([]byte, maxSecret+1)}); err == nil {
		t.Error("a secret that is too long was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.Run(ctx, Command{Args: []string{"x"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := (OpenSSL{}).Run(t.Context(), Command{Args: []string{"x"}}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("no program: %v", err)
	}
}

// A process that a module for tokens leaves behind has the output open for ever.
func TestOpenSSLWithDaemon(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nsleep 1000 &\necho $!\n"
	if err := os.WriteFile(filepath.Join(dir, "openssl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	o := OpenSSL{Dirs: []string{dir}, Env: os.Environ()}
	out, err := o.Run(t.Context(), Command{Args: []string{"x"}})
	daemon, parseErr := strconv.Atoi(strings.TrimSpace(string(out)))
	if err := errors.Join(err, parseErr); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(daemon, syscall.SIGKILL); err != nil {
		t.Errorf("the process that was left behind: %v", err)
	}
}

func FuzzSplitPIN(f *testing.F) {
	f.Add("pkcs11:object=k?pin-value=1234&pin-value=5")
	f.Add("pkcs11:object=k?pin-source=file:/x&pin-value=%zz")
	f.Fuzz(func(t *testing.T, name string) {
		uri, _ := splitPIN(name)
		_, query, _ := strings.Cut(uri, "?")
		if isTokenURI(uri) && strings.Contains("&"+query, "&pin-value=") {
			t.Errorf("%q still has its PIN in %q", name, uri)
		}
	})
}

func FuzzPublicKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"))
	f.Add([]byte("0: Public key\n-----BEGIN RSA PUBLIC KEY-----\nMAA=\n-----END RSA PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := parsePublicKey(data); (err == nil) != (key != nil) {
			t.Errorf("key %v and error %v", key, err)
		}
	})
}
