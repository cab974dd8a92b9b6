// Package pcr predicts what a unified kernel image leaves in register 11 of a
// TPM, and makes the signed policies that go with it into its .pcrsig section
// (UAPI.5 Unified Kernel Image; TPM 2.0 Library, Part 3, PolicyPCR and
// PolicyAuthorize).
//
// At boot, systemd-stub measures the sections of the image in a fixed order,
// wherever they are in the file, and the services of systemd-pcrphase.service(8)
// measure a word whenever the system enters a new phase.
package pcr

import (
	"crypto"
	_ "crypto/sha1" // for the bank of that name, which TPMs still have
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
)

// Register is the number of the register that a unified kernel image is
// measured into.
const Register = 11

// Bank is one of the banks of registers of a TPM: the hash function that it
// measures with.
type Bank struct {
	// Name is what systemd calls the bank, such as "sha256".
	Name string
	// Hash is its hash function.
	Hash crypto.Hash
	id   uint16 // TPM_ALG_ID (TPM 2.0 Library, Part 2)
}

// Banks are all banks that are known, in the order in which they are listed
// everywhere.
func Banks() []Bank {
	return []Bank{
		{"sha1", crypto.SHA1, 0x04},
		{"sha256", crypto.SHA256, 0x0b},
		{"sha384", crypto.SHA384, 0x0c},
		{"sha512", crypto.SHA512, 0x0d},
	}
}

// ParseBank finds a bank by its name.
func ParseBank(name string) (Bank, error) {
	for _, b := range Banks() {
		if b.Name == name {
			return b, nil
		}
	}
	return Bank{}, fmt.Errorf("a TPM has no bank %q", name)
}

// Phases are the paths of phases that values are predicted and signed for when
// nothing else is asked for: one for each point of a boot at which secrets are
// released.
func Phases() []string {
	return []string{"enter-initrd", "enter-initrd:leave-initrd", "enter-initrd:leave-initrd:sysinit", "enter-initrd:leave-initrd:sysinit:ready"}
}

// sections are the names of the sections that are measured, in the order in
// which systemd-stub does it. (.pcrsig cannot be measured, since it is about
// the result.)
var sections = []string{
	".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile", ".dtbauto", ".hwids", ".efifw",
}

// Measured is whether a section of that name is measured.
func Measured(section string) bool { return slices.Contains(sections, section) }

// Digests are the digests of one section's content, by the names of banks.
type Digests map[string][]byte

// Hasher takes the digests of what is written to it, for several banks at once.
type Hasher struct {
	banks  []Bank
	hashes []hash.Hash
	size   int64
}

// NewHasher returns a hasher for the banks. Without any, it takes no digests.
func NewHasher(banks []Bank) *Hasher {
	h := &Hasher{banks: banks}
	for _, b := range banks {
		h.hashes = append(h.hashes, b.Hash.New())
	}
	return h
}

// Write never fails. The hashes are computed side by side, for an initrd has
// many bytes.
func (h *Hasher) Write(b []byte) (int, error) {
	h.size += int64(len(b))
	var all sync.WaitGroup
	for _, one := range h.hashes {
		all.Go(func() { one.Write(b) })
	}
	all.Wait()
	return len(b), nil
}

// Digests returns the digests of what was written so far; nil when that was
// nothing, since an empty section is not measured.
func (h *Hasher) Digests() Digests {
	if h.size == 0 {
		return nil
	}
	d := Digests{}
	for i, b := range h.banks {
		d[b.Name] = h.hashes[i].Sum(nil)
	}
	return d
}

// Image is what is measured of a unified kernel image when it boots: for each
// section, by name, the digests of its content. A boot is with one profile and
// at most one each of the devicetrees and firmware files that are selected
// automatically; a section of the profile takes the place of the image's own.
type Image map[string]Digests

// Value returns what the register holds at the end of a path of phases, whose
// words are separated by colons; with the empty path, when the initrd starts.
func (m Image) Value(bank Bank, path string) ([]byte, error) {
	value := make([]byte, bank.Hash.Size())
	for _, name := range sections {
		digests := m[name]
		if digests == nil {
			continue
		}
		digest := digests[bank.Name]
		if len(digest) != len(value) {
			return nil, fmt.Errorf("predicting register %d: section %s has no digest for bank %s", Register, name, bank.Name)
		}
		value = bank.extend(value, bank.sum([]byte(name+"\x00")))
		value = bank.extend(value, digest)
	}
	for word := range strings.SplitSeq(path, ":") {
		if word != "" {
			value = bank.extend(value, bank.sum([]byte(word)))
		}
	}
	return value, nil
}

// extend is what a TPM does with a measurement.
func (b Bank) extend(value, digest []byte) []byte {
	h := b.Hash.New()
	h.Write(value)
	h.Write(digest)
	return h.Sum(nil)
}

func (b Bank) sum(data []byte) []byte {
	h := b.Hash.New()
	h.Write(data)
	return h.Sum(nil)
}
