package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// Reference names a private key and its certificate in the words of settings such as VerityKey= and VerityKeySource=.
type Reference struct {
	// Key and Certificate are paths of files in PEM form, or whatever the source of each takes for a name, such as a
	// pkcs11: URI (RFC 7512).
	Key, Certificate string
	// KeySource is "file" or "" for a file, "provider:NAME" for an OpenSSL provider, or "engine:NAME" for an OpenSSL
	// engine. CertificateSource is one of the first three.
	KeySource, CertificateSource string
}

// NeedsProgram reports whether the openssl program has to run to get at the key or the certificate.
func (r Reference) NeedsProgram() bool { return !isFile(r.KeySource) || !isFile(r.CertificateSource) }

// Check reports what is wrong with a reference as far as that can be told without asking a token: files are read, and
// sources have to be known ones.
func (r Reference) Check() error {
	if !r.NeedsProgram() {
		_, _, err := Load(context.Background(), r, nil)
		return err
	}
	return errors.Join(r.checkKey(), r.CheckCertificate())
}

// checkKey is Check for the key.
func (r Reference) checkKey() error {
	if isFile(r.KeySource) {
		_, err := loadKey(context.Background(), r.Key, r.KeySource, nil)
		return err
	}
	_, err := loadArguments(r.KeySource)
	return err
}

// CheckCertificate is [Reference.Check] for the certificate alone, where the key is elsewhere.
func (r Reference) CheckCertificate() error {
	if isFile(r.CertificateSource) {
		_, err := LoadCertificateFrom(context.Background(), r.Certificate, r.CertificateSource, nil)
		return err
	}
	_, err := certificateArguments(r.CertificateSource)
	return err
}

// Load returns the private key and the certificate that a reference names, and checks that they belong together and are
// for RSA or ECDSA, the two that images are signed with. run runs openssl for what is not in a file; a key from there
// signs until ctx is done, each time with a process of its own, and never leaves its token. It signs SHA-256, SHA-384 and
// SHA-512 digests with RSA (PKCS #1 v1.5, and PSS with *rsa.PSSOptions) and ECDSA. A pin-value in a URI is in no argument
// list and in no error.
func Load(ctx context.Context, r Reference, run RunFunc) (crypto.Signer, *x509.Certificate, error) {
	key, err := loadKey(ctx, r.Key, r.KeySource, run)
	if err != nil {
		return nil, nil, err
	}
	cert, err := LoadCertificateFrom(ctx, r.Certificate, r.CertificateSource, run)
	if err != nil {
		return nil, nil, err
	}
	if err := CheckPair(key, cert); err != nil {
		return nil, nil, fmt.Errorf("%s and %s: %w", withoutPIN(r.Key), withoutPIN(r.Certificate), err)
	}
	return key, cert, nil
}

func loadKey(ctx context.Context, name, source string, run RunFunc) (crypto.Signer, error) {
	if isFile(source) {
		key, err := LoadKey(name)
		if err != nil {
			return nil, err
		}
		if err := checkAlgorithm(key.Public()); err != nil {
			return nil, fmt.Errorf("the private key %s: %w", name, err)
		}
		return key, nil
	}
	load, err := loadArguments(source)
	if err != nil {
		return nil, err
	}
	uri, pin := splitPIN(name)
	k := &tokenKey{ctx: ctx, run: run, load: load, uri: uri, pin: pin}
	if err := k.readPublic(); err != nil {
		return nil, fmt.Errorf("reading the private key %s through OpenSSL's %s: %w", uri, strings.Replace(source, ":", " ", 1), err)
	}
	return k, nil
}

// LoadCertificateFrom returns the certificate of a [Reference] alone.
func LoadCertificateFrom(ctx context.Context, name, source string, run RunFunc) (*x509.Certificate, error) {
	cert, err := loadCertificate(ctx, name, source, run)
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithm(cert.PublicKey); err != nil {
		return nil, fmt.Errorf("the certificate %s: %w", withoutPIN(name), err)
	}
	return cert, nil
}

func loadCertificate(ctx context.Context, name, source string, run RunFunc) (*x509.Certificate, error) {
	if isFile(source) {
		return LoadCertificate(name)
	}
	load, err := certificateArguments(source)
	if err != nil {
		return nil, err
	}
	uri, pin := splitPIN(name)
	args := append([]string{"storeutl"}, load...)
	out, runErr := run(ctx, Command{Args: append(args, withPIN(pin, "-certs", uri)...), Secret: pin})
	// See tokenKey.result: what counts is what came out.
	cert, err := ParseCertificate(out)
	if err != nil {
		if runErr != nil {
			err = runErr
		}
		return nil, fmt.Errorf("reading the certificate %s through OpenSSL's %s: %w", uri, strings.Replace(source, ":", " ", 1), err)
	}
	return cert, nil
}

// checkAlgorithm refuses keys that no image can be signed with. Neither the PKCS#7 signatures that the kernel and firmware
// read nor the policies of a TPM know any but these two.
func checkAlgorithm(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
		return nil
	case ed25519.PublicKey:
		return errors.New("images cannot be signed with Ed25519: use an RSA key, such as mkosi genkey makes")
	default:
		return fmt.Errorf("images cannot be signed with a key of type %T: use an RSA key, such as mkosi genkey makes", key)
	}
}

func isFile(source string) bool { return source == "" || source == "file" }

// loadArguments are the options of openssl for a source of private keys.
func loadArguments(source string) ([]string, error) {
	kind, name, _ := strings.Cut(source, ":")
	switch {
	case kind != "provider" && kind != "engine":
		return nil, fmt.Errorf("a private key comes from file, provider:NAME or engine:NAME, not from %q", source)
	case name == "":
		return nil, fmt.Errorf("the source %q of a private key lacks a name, such as %s:pkcs11", source, kind)
	case kind == "engine":
		return []string{"-engine", name, "-keyform", "engine"}, nil
	}
	return providerArguments(name), nil
}

func certificateArguments(source string) ([]string, error) {
	kind, name, _ := strings.Cut(source, ":")
	switch {
	case kind == "engine":
		return nil, errors.New("OpenSSL's engines have no certificates: use file, or provider:NAME")
	case kind != "provider":
		return nil, fmt.Errorf("a certificate comes from file or provider:NAME, not from %q", source)
	case name == "":
		return nil, fmt.Errorf("the source %q of a certificate lacks a name, such as provider:pkcs11", source)
	}
	return providerArguments(name), nil
}

// providerArguments load a provider beside OpenSSL's own. That has to come first: tokens in software, such as softhsm2,
// use OpenSSL themselves, and would wait for the provider that waits for them.
func providerArguments(name string) []string {
	return []string{"-provider", "default", "-provider", name}
}

// withPIN puts the option before args that makes openssl read the PIN from where a [Command] has its secret.
func withPIN(pin []byte, args ...string) []string {
	if len(pin) == 0 {
		return args
	}
	return append([]string{"-passin", "fd:3"}, args...)
}

// lastLines is the end of what a program said.
func lastLines(out []byte) string {
	const limit = 10
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-limit):], "\n")
}
