package output

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// VerityReference is the key that signs dm-verity's root hashes.
func VerityReference(img *config.Image) keys.Reference {
	return keys.Reference{
		Key: img.VerityKey, KeySource: img.VerityKeySource.String(),
		Certificate: img.VerityCertificate, CertificateSource: img.VerityCertificateSource.String(),
	}
}

// SecureBootReference is the key that signs what the firmware starts.
func SecureBootReference(img *config.Image) keys.Reference {
	return keys.Reference{
		Key: img.SecureBootKey, KeySource: img.SecureBootKeySource.String(),
		Certificate: img.SecureBootCertificate, CertificateSource: img.SecureBootCertificateSource.String(),
	}
}

// ExpectedPCRReference is the key that signs the measurements that a unified kernel image will make.
func ExpectedPCRReference(img *config.Image) keys.Reference {
	return keys.Reference{
		Key: img.SignExpectedPcrKey, KeySource: img.SignExpectedPcrKeySource.String(),
		Certificate: img.SignExpectedPcrCertificate, CertificateSource: img.SignExpectedPcrCertificateSource.String(),
	}
}

// OpenSSL returns what runs the openssl program for keys that are not in files: that of ExtraSearchPaths=, or of this
// machine, with the environment of this process and what Environment= adds to it.
func OpenSSL(img *config.Image) (keys.RunFunc, error) {
	variables, err := img.ReadEnvironment()
	if err != nil {
		return nil, err
	}
	path := cmp.Or(os.Getenv("PATH"), "/usr/local/bin:/usr/bin:/bin")
	o := keys.OpenSSL{Dirs: append(slices.Clone(img.ExtraSearchPaths), filepath.SplitList(path)...), Env: os.Environ()}
	for name, value := range variables {
		o.Env = append(o.Env, name+"="+value)
	}
	return o.Run, nil
}

// LoadKey loads one of the keys of an image and its certificate; see [keys.Load].
func LoadKey(ctx context.Context, img *config.Image, r keys.Reference) (crypto.Signer, *x509.Certificate, error) {
	run, err := OpenSSL(img)
	if err != nil {
		return nil, nil, err
	}
	return keys.Load(ctx, r, run)
}

// LoadCertificate loads the certificate of one of the keys of an image alone.
func LoadCertificate(ctx context.Context, img *config.Image, r keys.Reference) (*x509.Certificate, error) {
	run, err := OpenSSL(img)
	if err != nil {
		return nil, err
	}
	return keys.LoadCertificateFrom(ctx, r.Certificate, r.CertificateSource, run)
}

// SignsVerity reports whether root hashes of dm-verity are signed when the image is written. It fails if the image's
// partition definitions are wrong.
func SignsVerity(img *config.Image) (bool, error) {
	if !hasDefinitions(img) {
		return false, nil
	}
	plan, err := planImage(img, nil)
	return err == nil && plan.Sign, err
}

// CheckKeys reports which of the keys that are to sign an image's root hashes, and are not in files, cannot be used. It
// may ask tokens and is for the beginning of a build; [Check] looks at the files.
func CheckKeys(ctx context.Context, img *config.Image) error {
	r := VerityReference(img)
	if !r.NeedsProgram() {
		return nil
	}
	signs, err := SignsVerity(img)
	if err != nil || !signs {
		return err
	}
	if _, _, err := LoadKey(ctx, img, r); err != nil {
		return fmt.Errorf("signing with VerityKey= and VerityCertificate=: %w", err)
	}
	return nil
}
