package build

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/output"
)

// bootKey is a key that signs what an image boots with.
type bootKey struct {
	keys.Reference
	setting string // asks for it
	names   string // settings that name it
	without string // what to do to go without it, as a hint; "" where that is no way out
	public  bool   // only the certificate is needed: policies are signed elsewhere
	starts  bool   // firmware checks its signatures
}

// bootKeys are the keys that a build of an image needs for what the image boots with. Policies for PCR values are only in
// unified kernel images, but whoever asks for them explicitly is told what keeps them from being made.
func bootKeys(img *config.Image) (list []bootKey) {
	if signsBoot(img) {
		list = append(list, bootKey{
			Reference: output.SecureBootReference(img), setting: "SecureBoot=yes",
			names: "SecureBootKey= and SecureBootCertificate=", starts: true,
		})
	}
	policies := bootKey{Reference: output.ExpectedPCRReference(img), names: "SignExpectedPcrKey= and SignExpectedPcrCertificate="}
	switch {
	case img.SignExpectedPcr == config.Enabled:
		policies.setting = "SignExpectedPcr=yes"
	case !mayHaveUKI(img):
		return list
	case wantsPCRSignature(img):
		policies.setting, policies.without = "SignExpectedPcr=auto", "set SignExpectedPcr=no to go without signatures"
	case slices.Contains(img.SplitArtifacts, config.ArtifactPCRs) && (img.Format == config.FormatUKI || img.Bootable == config.Enabled):
		policies.setting, policies.names, policies.public = "SplitArtifacts=pcrs", "SignExpectedPcrCertificate=", true
		policies.Key, policies.KeySource = "", ""
	default:
		return list
	}
	return append(list, policies)
}

// mayHaveUKI reports whether an image gets unified kernel images if it has kernels, and a stub to make them with.
func mayHaveUKI(img *config.Image) bool {
	switch img.Format {
	case config.FormatNone, config.FormatAddon:
		return false
	case config.FormatUKI:
		return true
	case config.FormatESP:
		return img.Bootable != config.Disabled
	}
	switch img.Bootloader {
	case config.BootloaderNone:
		return false
	case config.BootloaderUKI, config.BootloaderUKISigned:
		return boots(img)
	}
	return boots(img) && img.UnifiedKernelImages != config.UKINone && !usesPrebuilt(img)
}

// check complains about a key that is not there or cannot be used, as far as that can be told without asking a token.
func (k bootKey) check(add func(hint, format string, args ...any)) {
	switch {
	case k.public && k.Certificate == "":
		add("make one with mkosi genkey, or set "+k.names, "%w", errNoPCRCertificate)
	case k.Certificate == "" || k.Key == "" && !k.public:
		add("make a key with mkosi genkey, or set "+k.names, "%s needs a key and a certificate", k.setting)
	default:
		check := k.Check
		if k.public {
			check = k.CheckCertificate
		}
		if err := check(); err != nil {
			add(k.without, "%s: %w", k.setting, err)
		}
	}
}

// load returns the certificate, after a look at the key.
func (k bootKey) load(ctx context.Context, img *config.Image) (cert *x509.Certificate, err error) {
	if k.public {
		cert, err = output.LoadCertificate(ctx, img, k.Reference)
	} else {
		_, cert, err = output.LoadKey(ctx, img, k.Reference)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.setting, err)
	}
	return cert, nil
}

// CheckKeys reports the keys that are not in files and cannot be used, before the build has worked for minutes. It calls
// warn for keys that sign what may not be accepted.
func (p *Plan) CheckKeys(ctx context.Context, warn func(image, text string)) error {
	var problems []error
	for _, job := range p.Jobs {
		if job.Skip != "" {
			continue
		}
		errs := []error{output.CheckKeys(ctx, job.Image)}
		for _, k := range bootKeys(job.Image) {
			cert, err := k.load(ctx, job.Image)
			errs = append(errs, err)
			if err == nil && k.starts {
				warnOfECDSA(cert, func(text string) { warn(job.Image.Image, k.setting+": "+text) })
			}
		}
		if err := errors.Join(errs...); err != nil {
			problems = append(problems, &ConfigError{Err: fmt.Errorf("image %s: %w", job.Image.Image, err)})
		}
	}
	return errors.Join(problems...)
}

// warnOfECDSA says that firmware need not know a kind of signature. The UEFI specification demands RSA only; whether a
// firmware knows ECDSA too depends on how it was built, and the programs that sign and verify do not mind.
func warnOfECDSA(cert *x509.Certificate, warn func(text string)) {
	if key, ok := cert.PublicKey.(*ecdsa.PublicKey); ok {
		warn(fmt.Sprintf("the key is for ECDSA with %s, and firmware need not know anything but RSA: where it does not, the image will not start",
			key.Curve.Params().Name))
	}
}
