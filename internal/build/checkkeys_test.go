package build

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/keys/keystest"
)

// pairFiles are a key and its certificate.
type pairFiles struct{ key, cert string }

func writePair(t *testing.T, key crypto.Signer) pairFiles {
	t.Helper()
	keyFile, certFile := keystest.Files(t, key, keystest.Certificate(t, key, "test"))
	return pairFiles{keyFile, certFile}
}

// badPairs are pairs that cannot be used, and what is said of them.
func badPairs(t *testing.T) map[string]pairFiles {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	one, _ := keystest.Pair(t, "one")
	two, _ := keystest.Pair(t, "two")
	good, other := writePair(t, one), writePair(t, two)
	protected := filepath.Join(t.TempDir(), "key")
	text := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{0}})
	if err := os.WriteFile(protected, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]pairFiles{
		"images cannot be signed with Ed25519":               writePair(t, ed),
		"the certificate does not belong to the private key": {good.key, other.cert},
		"protected by a passphrase":                          {protected, good.cert},
		"/nowhere/key: no such file":                         {"/nowhere/key", good.cert},
	}
}

// plan plans an image whose keys are all the same.
func planWithKeys(p pairFiles, change func(*config.Image)) error {
	img := &config.Image{
		Image: "main", Output: "main", Format: config.FormatDirectory, Architecture: "x86-64", RepartOffline: true,
		Bootable: config.Auto, SignExpectedPcr: config.Auto, Verity: config.VerityAuto,
		SecureBootKey: p.key, SecureBootCertificate: p.cert, VerityKey: p.key, VerityCertificate: p.cert,
		SignExpectedPcrKey: p.key, SignExpectedPcrCertificate: p.cert,
	}
	change(img)
	_, err := NewPlan(&config.Config{Dir: "/nowhere", Images: []*config.Image{img}})
	return err
}

// A key that is to sign something is looked at before anything is built, and the setting that wants it is named.
func TestPlanChecksKeyFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*config.Image)
		want   string
	}{
		"verity": {func(i *config.Image) { i.Format = config.FormatSysext }, "VerityKey= and VerityCertificate="},
		"secure boot": {func(i *config.Image) {
			i.SecureBoot, i.SignExpectedPcr = true, config.Disabled
		}, "SecureBoot=yes"},
		"policies":              {func(i *config.Image) { i.Bootable, i.SignExpectedPcr = config.Enabled, config.Enabled }, "SignExpectedPcr=yes"},
		"policies by default":   {func(i *config.Image) { i.Bootable = config.Enabled }, "SignExpectedPcr=auto"},
		"whatever is installed": {func(*config.Image) {}, "SignExpectedPcr=auto"},
		"uki":                   {func(i *config.Image) { i.Format, i.Bootable = config.FormatUKI, config.Disabled }, "SignExpectedPcr=auto"},
		"esp":                   {func(i *config.Image) { i.Format = config.FormatESP }, "SignExpectedPcr=auto"},
		"uki as boot loader": {func(i *config.Image) {
			i.UnifiedKernelImages, i.Bootloader = config.UKINone, config.BootloaderUKI
		}, "SignExpectedPcr=auto"},
	} {
		for problem, pair := range badPairs(t) {
			err := planWithKeys(pair, tt.change)
			if err == nil || !strings.Contains(err.Error(), tt.want+": ") || !strings.Contains(err.Error(), problem) {
				t.Errorf("%s: %v, want %q and %q", name, err, tt.want, problem)
			}
		}
		key, _ := keystest.Pair(t, "good")
		if err := planWithKeys(writePair(t, key), tt.change); err != nil {
			t.Errorf("%s: a good key: %v", name, err)
		}
	}
}

// Keys that sign nothing may be as they like.
func TestPlanPassesOverIdleKeys(t *testing.T) {
	for name, change := range map[string]func(*config.Image){
		"not bootable":   func(i *config.Image) { i.Bootable = config.Disabled },
		"initrd":         func(i *config.Image) { i.Format = config.FormatCPIO },
		"addon":          func(i *config.Image) { i.Format = config.FormatAddon },
		"no output":      func(i *config.Image) { i.Format, i.BuildScripts = config.FormatNone, []string{"/proc/self/exe"} },
		"no policies":    func(i *config.Image) { i.SignExpectedPcr = config.Disabled },
		"type 1":         func(i *config.Image) { i.UnifiedKernelImages = config.UKINone },
		"no boot loader": func(i *config.Image) { i.Bootloader = config.BootloaderNone },
		"esp of files":   func(i *config.Image) { i.Format, i.Bootable = config.FormatESP, config.Disabled },
		"verity hash":    func(i *config.Image) { i.Format, i.Verity = config.FormatSysext, config.VerityHash },
	} {
		for problem, pair := range badPairs(t) {
			if err := planWithKeys(pair, change); err != nil {
				t.Errorf("%s: %v, though nothing is signed (%s)", name, err, problem)
			}
		}
	}
}

// Policies that are signed elsewhere need the certificate, and no key.
func TestPlanChecksCertificateOfPolicies(t *testing.T) {
	elsewhere := func(i *config.Image) {
		i.Bootable, i.SplitArtifacts = config.Enabled, []config.Artifact{config.ArtifactPCRs}
		i.SignExpectedPcr, i.SignExpectedPcrKey = config.Disabled, "/nowhere/key"
	}
	key, _ := keystest.Pair(t, "good")
	good := writePair(t, key)
	for cert, want := range map[string]string{good.cert: "", "": "SplitArtifacts=pcrs needs a SignExpectedPcrCertificate=", "/nowhere/crt": "SplitArtifacts=pcrs: reading certificate", good.key: "no certificate"} {
		err := planWithKeys(pairFiles{good.key, cert}, elsewhere)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("with the certificate %q: %v, want %q", cert, err, want)
		}
	}
}

// brokenProgram is an image with a key that an openssl program which says so cannot get at.
func brokenProgram(t *testing.T) *config.Image {
	t.Helper()
	programs := t.TempDir()
	script := "#!/bin/sh\necho broken: \"$@\" >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(programs, "openssl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	token, uri := config.KeySource{Type: "provider", Source: "none"}, "pkcs11:object=k?pin-value=4711"
	return &config.Image{
		Image: "main", Format: config.FormatUKI, Architecture: "x86-64", SignExpectedPcr: config.Auto, ExtraSearchPaths: []string{programs},
		SecureBootKey: uri, SecureBootKeySource: token, SecureBootCertificate: uri, SecureBootCertificateSource: token,
		SignExpectedPcrKey: uri, SignExpectedPcrKeySource: token, SignExpectedPcrCertificate: uri, SignExpectedPcrCertificateSource: token,
	}
}

// Of the keys that are not in files, those are asked for that sign something.
func TestPlanChecksKeys(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*config.Image)
		want   []string
	}{
		"secure boot": {func(i *config.Image) { i.SecureBoot, i.SignExpectedPcr = true, config.Disabled }, []string{"SecureBoot=yes: ", "broken: pkey"}},
		"policies":    {func(*config.Image) {}, []string{"SignExpectedPcr=auto: ", "broken: pkey"}},
		"certificate": {func(i *config.Image) {
			i.SignExpectedPcr, i.SplitArtifacts = config.Disabled, []config.Artifact{config.ArtifactPCRs}
		}, []string{"SplitArtifacts=pcrs: ", "broken: storeutl"}},
		"nothing":            {func(i *config.Image) { i.SignExpectedPcr = config.Disabled }, nil},
		"the default initrd": {func(i *config.Image) { i.Format, i.Bootable = config.FormatCPIO, config.Disabled }, nil},
	} {
		img := brokenProgram(t)
		tt.change(img)
		check := func(skip string) error {
			return (&Plan{Jobs: []*Job{{Image: img, Skip: skip}}}).CheckKeys(t.Context(), func(_, text string) { t.Errorf("%s: %s", name, text) })
		}
		err := check("")
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range tt.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: the PIN is in %v", name, err)
		}
		if err := check("it exists already"); err != nil {
			t.Errorf("%s, but not built: %v", name, err)
		}
	}
}

// Firmware need not know ECDSA, a TPM does.
func TestPlanWarnsOfECDSA(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pair := writePair(t, key)
	for secureBoot, want := range map[bool]string{true: "main: SecureBoot=yes: the key is for ECDSA with P-384,", false: ""} {
		img := &config.Image{
			Image: "main", Format: config.FormatUKI, Architecture: "x86-64", SecureBoot: secureBoot, SignExpectedPcr: config.Auto,
			SecureBootKey: pair.key, SecureBootCertificate: pair.cert, SignExpectedPcrKey: pair.key, SignExpectedPcrCertificate: pair.cert,
		}
		got := ""
		err := (&Plan{Jobs: []*Job{{Image: img}}}).CheckKeys(t.Context(), func(image, text string) { got += image + ": " + text })
		if err != nil || !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("SecureBoot=%t: warned %q, %v, want %q", secureBoot, got, err, want)
		}
	}
}
