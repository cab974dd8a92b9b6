package pcr

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/mkosi-go/mkosi/internal/keys"
)

// Policy says, to a TPM, that what it guards may be used while register 11 has
// a certain value. It is approved by a signature.
type Policy struct {
	// Fingerprint is that of the public key that approves the policy, see
	// [Fingerprint].
	Fingerprint []byte
	// Ref is the policy reference that is signed along: only what is guarded
	// under that reference is released. Usually empty.
	Ref string
	// Digest is the digest of the policy, of 32 bytes: policies use SHA-256,
	// whatever the bank.
	Digest []byte
	// Signature is nil until the policy is signed.
	Signature []byte
}

// Signed is what a signature of the policy is of.
func (p Policy) Signed() []byte {
	if p.Ref == "" {
		return p.Digest
	}
	ref := sha256.Sum256([]byte(p.Ref))
	return append(bytes.Clone(p.Digest), ref[:]...)
}

// policyDigest is the digest of the policy that register 11 of a bank has a
// value (TPM 2.0 Library, Part 3, TPM2_PolicyPCR).
func policyDigest(bank Bank, value []byte) []byte {
	const policyPCR = 0x17f // TPM_CC_PolicyPCR
	registers := sha256.Sum256(value)
	b := make([]byte, sha256.Size) // an empty policy, to be extended
	b = binary.BigEndian.AppendUint32(b, policyPCR)
	// TPML_PCR_SELECTION with one element, whose three bytes are a map of the
	// registers 0 to 23.
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, bank.id)
	b = append(b, 3, 0, 1<<(Register-8), 0)
	b = append(b, registers[:]...)
	digest := sha256.Sum256(b)
	return digest[:]
}

// Fingerprint is what a policy names a public key by: the SHA-256 digest of an
// RSA key as PKCS#1 encodes it, or of the uncompressed point of an elliptic one.
func Fingerprint(key crypto.PublicKey) ([]byte, error) {
	var b []byte
	switch key := key.(type) {
	case *rsa.PublicKey:
		b = x509.MarshalPKCS1PublicKey(key)
	case *ecdsa.PublicKey:
		var err error
		if b, err = key.Bytes(); err != nil {
			return nil, fmt.Errorf("encoding the public key of policies: %w", err)
		}
	default:
		return nil, fmt.Errorf("policies cannot be approved by a key of type %T: a TPM knows RSA and elliptic curves", key)
	}
	digest := sha256.Sum256(b)
	return digest[:], nil
}

// PublicKeyPEM is the text of the .pcrpkey section.
func PublicKeyPEM(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("encoding the public key of policies: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// Options say which policies are made.
type Options struct {
	// Banks are the banks that there is a policy each for.
	Banks []Bank
	// Phases are the paths of phases that policies are made for; nil is
	// [Phases].
	Phases []string
	// Initrd adds policies with the reference "initrd" which hold only until
	// the initrd is left.
	Initrd bool
	// Key signs the policies, an RSA key or an elliptic one. Without, they are
	// left unsigned, to be signed elsewhere.
	Key crypto.Signer
	// PublicKey is the key whose private half the policies are signed with
	// elsewhere. It is ignored when Key is set.
	PublicKey crypto.PublicKey
}

// Public returns the public key that approves the policies.
func (o Options) Public() (crypto.PublicKey, error) {
	key := o.PublicKey
	if o.Key != nil {
		key = o.Key.Public()
	}
	if key == nil {
		return nil, errors.New("policies need a key that approves them")
	}
	_, err := Fingerprint(key)
	return key, err
}

// Policies returns the policies for the values that booting the image leaves.
func (m Image) Policies(o Options) (Policies, error) {
	phases := o.Phases
	if phases == nil {
		phases = Phases()
	}
	list := Policies{}
	if err := m.policies(list, o, phases, ""); err != nil {
		return nil, err
	}
	if !o.Initrd {
		return list, nil
	}
	return list, m.policies(list, o, []string{"enter-initrd"}, "initrd")
}

func (m Image) policies(list Policies, o Options, phases []string, ref string) error {
	public, err := o.Public()
	if err != nil {
		return err
	}
	fingerprint, err := Fingerprint(public)
	if err != nil {
		return err
	}
	for _, bank := range o.Banks {
		for _, path := range phases {
			value, err := m.Value(bank, path)
			if err != nil {
				return err
			}
			p := Policy{Fingerprint: fingerprint, Ref: ref, Digest: policyDigest(bank, value)}
			if o.Key != nil {
				if err := p.sign(o.Key); err != nil {
					return fmt.Errorf("signing the policy for bank %s and phase %s: %w", bank.Name, path, err)
				}
			}
			list.add(bank.Name, p)
		}
	}
	return nil
}

// sign signs a policy, the same one always with the same signature. A TPM
// verifies those of RSA (PKCS #1 v1.5) and of elliptic curves, with SHA-256.
func (p *Policy) sign(key crypto.Signer) error {
	digest := sha256.Sum256(p.Signed())
	var err error
	p.Signature, err = keys.Deterministic(key).Sign(rand.Reader, digest[:], crypto.SHA256)
	return err
}

// Verify checks that the policy is signed with the key.
func (p Policy) Verify(key crypto.PublicKey) error {
	fingerprint, err := Fingerprint(key)
	if err != nil {
		return err
	}
	if !bytes.Equal(fingerprint, p.Fingerprint) {
		return fmt.Errorf("the policy names the key %s, not %s", hex.EncodeToString(p.Fingerprint), hex.EncodeToString(fingerprint))
	}
	digest := sha256.Sum256(p.Signed())
	switch key := key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], p.Signature)
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(key, digest[:], p.Signature) {
			return errors.New("the signature of the policy does not fit")
		}
	}
	return nil
}

// CheckPolicies checks that policies of a bank are signed with the key, and
// are for values that booting the image leaves at one of [Phases].
func (m Image) CheckPolicies(bank Bank, list []Policy, key crypto.PublicKey) error {
	var known [][]byte
	for _, path := range Phases() {
		value, err := m.Value(bank, path)
		if err != nil {
			return err
		}
		known = append(known, policyDigest(bank, value))
	}
	for i, p := range list {
		if !slices.ContainsFunc(known, func(d []byte) bool { return bytes.Equal(d, p.Digest) }) {
			return fmt.Errorf("policy %d is for another value than booting the image leaves", i+1)
		}
		if p.Signature == nil {
			return fmt.Errorf("policy %d is not signed", i+1)
		}
		if err := p.Verify(key); err != nil {
			return fmt.Errorf("policy %d: %w", i+1, err)
		}
	}
	return nil
}
