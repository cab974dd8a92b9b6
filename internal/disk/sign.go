package disk

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// SignOptions says how Sign signs an image that is there.
type SignOptions struct {
	// Path is the image file, or a block device.
	Path string
	// SectorSize is that of the image in bytes; zero means to find it out.
	SectorSize int

	// Key and Certificate sign the root hashes. With Join, Key is not needed,
	// and Certificate only if the signature does not hold it.
	Key         crypto.Signer
	Certificate *x509.Certificate
	// Join is a signature that was made elsewhere; nil means none.
	Join *JoinedSignature

	// Origins are what the image may have been made of. The one whose seed
	// gives the disk's identifier describes the new partitions. Without any,
	// they are named after their type, and their identifiers come from that of
	// the disk.
	Origins []SignOrigin

	// Force replaces signatures that are there.
	Force bool
	// Check compares all data with its hashes before it is signed.
	Check bool
}

// SignOrigin is the seed and the definitions that an image may have been built
// with.
type SignOrigin struct {
	Seed        uuid.UUID
	Definitions []repart.Definition
}

// JoinedSignature is a detached PKCS#7 signature in DER of a root hash as
// hexadecimal text.
type JoinedSignature struct {
	RootHash, DER []byte
}

// SignedSet is a verity set that Sign signed.
type SignedSet struct {
	// RootHash is what was signed, Certificate with which certificate.
	RootHash    []byte
	Certificate *x509.Certificate
	// Partition is the signature partition.
	Partition gpt.Partition
	// Type is what it is.
	Type repart.PartitionType
	// Added says that it was not in the partition table before.
	Added bool
}

// ErrSigned is wrapped by the error for an image that is signed already.
var ErrSigned = errors.New("it is signed already")

// Sign signs the verity sets of an image that was built with the signature
// partitions left out (Options.Defer), and adds these where room was left for
// them: what systemd-repart does when it is run a second time. It works in the
// image, which may be large or a device, in an order in which an interruption
// harms nothing: the signatures first, then the backup of the partition table,
// then the table. Only a power cut during that last write can leave a table
// that is not valid, with a backup that is; Sign then mends it. A signature that
// is replaced is not valid until all of it is written. When all is signed and
// Force is not set, the error wraps ErrSigned, and nothing is changed.
func Sign(ctx context.Context, o SignOptions) (_ []SignedSet, err error) {
	f, err := os.OpenFile(o.Path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s, err := newSigner(f, o)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", o.Path, err)
	}
	signed, err := s.sign(ctx)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", o.Path, err)
	}
	return signed, nil
}

// signer signs one image.
type signer struct {
	SignOptions
	f      *os.File
	table  *gpt.Table
	origin SignOrigin
	// mend says that the partition table on the disk is not as it should be.
	mend bool
}

func newSigner(f *os.File, o SignOptions) (*signer, error) {
	// Of a block device, this is how to learn the size.
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	found, err := gpt.Read(f, size, o.SectorSize)
	if err != nil {
		return nil, err
	}
	s := &signer{SignOptions: o, f: f, table: found.Table, mend: found.Primary != nil || found.Backup != nil}
	s.origin.Seed = found.Table.UUID
	for _, origin := range o.Origins {
		if DiskUUID(origin.Seed) == found.Table.UUID {
			s.origin = origin
		}
	}
	return s, nil
}

// pending is a signature that is about to be written.
type pending struct {
	set       *foundSet
	content   []byte
	cert      *x509.Certificate
	partition gpt.Partition
}

func (s *signer) sign(ctx context.Context) ([]SignedSet, error) {
	sets, err := s.findSets()
	if err != nil {
		return nil, err
	}
	if sets, err = s.choose(sets); err != nil {
		return nil, err
	}
	var todo []pending
	for _, set := range sets {
		if s.Check || !set.certain {
			if err := s.checkBlocks(ctx, set); err != nil {
				return nil, err
			}
		}
		p := pending{set: set}
		if p.content, p.cert, err = s.signature(set.rootHash); err != nil {
			return nil, err
		}
		if p.partition, err = s.signaturePartition(set); err != nil {
			return nil, err
		}
		todo = append(todo, p)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.write(todo)
}

// choose returns the sets that are to be signed.
func (s *signer) choose(sets []*foundSet) ([]*foundSet, error) {
	if len(sets) == 0 {
		return nil, errors.New("no partition has dm-verity hashes")
	}
	if s.Join != nil {
		var hashes string
		for _, set := range sets {
			if string(set.rootHash) == string(s.Join.RootHash) {
				sets, hashes = []*foundSet{set}, ""
				break
			}
			hashes += fmt.Sprintf(" %x", set.rootHash)
		}
		if hashes != "" {
			return nil, fmt.Errorf("the signature is one of root hash %x, and the image has%s", s.Join.RootHash, hashes)
		}
	}
	var chosen []*foundSet
	for _, set := range sets {
		if set.state == signatureMissing || s.Force {
			chosen = append(chosen, set)
		} else if set.state == signatureForeign {
			return nil, fmt.Errorf("partition %d holds a signature that is not one of root hash %x", set.signature.Number, set.rootHash)
		}
	}
	if len(chosen) == 0 {
		return nil, ErrSigned
	}
	return chosen, nil
}

// checkBlocks compares the data of a set with its hashes.
func (s *signer) checkBlocks(ctx context.Context, set *foundSet) error {
	root, bad, err := verity.Check(ctx, s.section(set.data), s.section(set.hash), set.superblock)
	switch {
	case err != nil:
		return fmt.Errorf("checking partition %d: %w", set.data.Number, err)
	case len(bad) > 0:
		return fmt.Errorf("partition %d does not match its hashes in partition %d: %s differs", set.data.Number, set.hash.Number, bad[0])
	case string(root) != string(set.rootHash):
		return fmt.Errorf("partition %d changed while it was read", set.hash.Number)
	}
	return nil
}

// signature returns the content of a signature partition, and the certificate
// that it is by.
func (s *signer) signature(rootHash []byte) ([]byte, *x509.Certificate, error) {
	if s.Join == nil {
		content, err := verity.Sign(s.Key, s.Certificate, rootHash)
		return content, s.Certificate, err
	}
	return s.Join.content(s.Certificate)
}

// content returns the content of a signature partition, and the certificate
// that the signature is by: cert, or with nil the one that it holds.
func (j *JoinedSignature) content(cert *x509.Certificate) ([]byte, *x509.Certificate, error) {
	if cert == nil {
		var err error
		if cert, err = keys.PKCS7Signer(j.DER, nil); err != nil {
			return nil, nil, fmt.Errorf("the signature cannot be checked without its certificate: %w", err)
		}
	}
	text := verity.SignedText(j.RootHash)
	if _, err := keys.VerifyPKCS7Detached(j.DER, text, []*x509.Certificate{cert}); err != nil {
		return nil, nil, fmt.Errorf("the signature of root hash %x: %w", j.RootHash, err)
	}
	content, err := verity.FormatSignature(j.RootHash, keys.Fingerprint(cert), j.DER)
	return content, cert, err
}
