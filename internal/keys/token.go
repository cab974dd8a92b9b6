package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// tokenKey is a private key that only OpenSSL gets at, mostly because it is in a token.
type tokenKey struct {
	ctx    context.Context // a crypto.Signer gets none
	run    RunFunc
	load   []string // options that load the provider or engine
	uri    string   // has no PIN
	pin    []byte
	public crypto.PublicKey
}

func (k *tokenKey) Public() crypto.PublicKey { return k.public }

// readPublic asks for the public half.
func (k *tokenKey) readPublic() error {
	args := append([]string{"pkey"}, forPkey(k.load)...)
	out, runErr := k.run(k.ctx, Command{Args: append(args, withPIN(k.pin, "-in", k.uri, "-pubout")...), Secret: k.pin})
	return k.result(runErr, func() (err error) {
		k.public, err = parsePublicKey(out)
		return err
	})
}

// forPkey is load for "openssl pkey", whose name for the form of the key is another one.
func forPkey(load []string) []string {
	args := make([]string, len(load))
	for i, a := range load {
		args[i] = strings.Replace(a, "-keyform", "-inform", 1)
	}
	return args
}

// result decides with check whether a call gave what it was made for. Its exit code does not: modules that use OpenSSL
// themselves, such as softhsm2, crash when the process that they are loaded into ends, after all is done.
func (k *tokenKey) result(runErr error, check func() error) error {
	err := check()
	if err == nil || runErr == nil {
		return err
	}
	if lacksPIN(k.uri, k.pin) {
		return fmt.Errorf("%w\nthe URI names no PIN, which most tokens want: put it into a file that only you can read, and add ?pin-source=file:PATH", runErr)
	}
	return runErr
}

// Sign signs a digest. Nothing random is needed here, the token has its own.
func (k *tokenKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	options, err := k.signOptions(digest, opts)
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k.uri, err)
	}
	args := append([]string{"pkeyutl", "-sign"}, k.load...)
	args = append(args, withPIN(k.pin, "-inkey", k.uri)...)
	signature, runErr := k.run(k.ctx, Command{Args: append(args, options...), Stdin: digest, Secret: k.pin})
	err = k.result(runErr, func() error { return verify(k.public, digest, signature, opts) })
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k.uri, err)
	}
	return signature, nil
}

// signOptions are the options of "openssl pkeyutl" for a kind of signature.
func (k *tokenKey) signOptions(digest []byte, opts crypto.SignerOpts) ([]string, error) {
	names := map[crypto.Hash]string{crypto.SHA256: "sha256", crypto.SHA384: "sha384", crypto.SHA512: "sha512"}
	hash := opts.HashFunc()
	name, ok := names[hash]
	if !ok {
		return nil, fmt.Errorf("the digest is %v, and only SHA-256, SHA-384 and SHA-512 can be signed", hash)
	}
	if len(digest) != hash.Size() {
		return nil, fmt.Errorf("a %v digest has %d bytes, not %d", hash, hash.Size(), len(digest))
	}
	options := []string{"-pkeyopt", "digest:" + name}
	if _, ok := k.public.(*rsa.PublicKey); !ok {
		return options, nil
	}
	pss, ok := opts.(*rsa.PSSOptions)
	if !ok {
		return append(options, "-pkeyopt", "rsa_padding_mode:pkcs1"), nil
	}
	salt := strconv.Itoa(pss.SaltLength)
	switch pss.SaltLength {
	case rsa.PSSSaltLengthAuto:
		salt = "max"
	case rsa.PSSSaltLengthEqualsHash:
		salt = "digest"
	}
	return append(options, "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:"+salt), nil
}

// verify checks a signature of a digest, in the form that opts ask for.
func verify(public crypto.PublicKey, digest, signature []byte, opts crypto.SignerOpts) error {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(public, opts.HashFunc(), digest, signature, pss)
		}
		return rsa.VerifyPKCS1v15(public, opts.HashFunc(), digest, signature)
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(public, digest, signature) {
			return errors.New("the signature does not belong to the digest and the public key")
		}
		return nil
	}
	return fmt.Errorf("keys of type %T are not supported", public)
}

// parsePublicKey finds the public key in PEM text: an RSA or ECDSA key as SubjectPublicKeyInfo (RFC 5280) or in the form
// of PKCS #1, which some versions of OpenSSL's providers write.
func parsePublicKey(data []byte) (crypto.PublicKey, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "RSA PUBLIC KEY":
			key, err := x509.ParsePKCS1PublicKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			return key, nil
		case "PUBLIC KEY":
			key, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			if err := checkAlgorithm(key); err != nil {
				return nil, err
			}
			return key, nil
		}
	}
	return nil, errors.New("openssl wrote no public key in PEM form")
}
