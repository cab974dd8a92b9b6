package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
)

// signatureState says what is known about the signature of a verity set.
type signatureState int

const (
	// signatureMissing is for a set without a signature partition, or with one
	// that is empty.
	signatureMissing signatureState = iota
	// signaturePresent is for a signature of the set's root hash. By whom, and
	// whether it is valid, is another question.
	signaturePresent
	// signatureForeign is for a signature partition that holds something else.
	signatureForeign
)

// foundSet is a verity set in an image.
type foundSet struct {
	data, hash gpt.Partition
	// signature is the zero value if the set has no such partition.
	signature gpt.Partition
	state     signatureState
	// sigType is the type that it has, or would have.
	sigType    repart.PartitionType
	superblock verity.Superblock
	rootHash   []byte
	// certain says that the identifiers of data and hash partition are the
	// halves of the root hash.
	certain bool
}

// section is the content of a partition.
func (s *signer) section(p gpt.Partition) *io.SectionReader {
	sector := int64(s.table.SectorSize)
	return io.NewSectionReader(s.f, int64(p.First)*sector, int64(p.Last-p.First+1)*sector)
}

// findSets returns the verity sets of the image in the order of their hash
// partitions. One without a superblock is there for a later update, and waits.
func (s *signer) findSets() ([]*foundSet, error) {
	var sets []*foundSet
	for _, p := range s.table.Partitions {
		hashType, dataType, err := verityTypes(p)
		if err != nil {
			return nil, err
		}
		if dataType.Name == "" {
			continue
		}
		set, err := s.readSet(p, dataType)
		if errors.Is(err, verity.ErrNoSuperblock) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("partition %d (%s): %w", p.Number, hashType.Name, err)
		}
		if set.sigType, err = repart.ParsePartitionType(hashType.Name+"-sig", ""); err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return sets, s.findSignatures(sets)
}

// verityTypes returns the type of a partition, and if it is for hashes, that of
// the data.
func verityTypes(p gpt.Partition) (own, data repart.PartitionType, err error) {
	if own, err = repart.ParsePartitionType(p.Type.String(), ""); err != nil {
		return own, data, fmt.Errorf("partition %d: %w", p.Number, err)
	}
	if name, ok := strings.CutSuffix(own.Name, "-verity"); ok {
		data, err = repart.ParsePartitionType(name, "")
	}
	return own, data, err
}

// readSet finds the data that belongs to a hash partition, by the identifiers,
// which are the halves of the root hash, or because there is only one such
// partition.
func (s *signer) readSet(hash gpt.Partition, dataType repart.PartitionType) (*foundSet, error) {
	set := &foundSet{hash: hash}
	var err error
	if set.superblock, err = verity.ParseSuperblock(s.section(hash)); err != nil {
		return nil, err
	}
	var candidates []gpt.Partition
	for _, p := range s.table.Partitions {
		if p.Type != dataType.UUID {
			continue
		}
		candidates = append(candidates, p)
		// The data is read here only if all of it is one block.
		root, err := verity.RootHash(s.section(p), s.section(hash), set.superblock)
		if err != nil {
			return nil, err
		}
		dataID, hashID := verityUUIDs(root)
		if p.UUID == dataID && hash.UUID == hashID {
			set.data, set.rootHash, set.certain = p, root, true
			return set, nil
		}
		set.data, set.rootHash = p, root
	}
	if len(candidates) != 1 {
		return nil, fmt.Errorf("which of %d partitions of type %s it belongs to cannot be told", len(candidates), dataType.Name)
	}
	return set, nil
}

// findSignatures finds the signature partitions that belong to the sets: by the
// root hash in them, or because there is one left and only one set of its type.
func (s *signer) findSignatures(sets []*foundSet) error {
	for _, p := range s.table.Partitions {
		var ofType, matching []*foundSet
		root, err := s.signedHash(p)
		for _, set := range sets {
			if set.sigType.UUID != p.Type || set.state == signaturePresent {
				continue
			}
			ofType = append(ofType, set)
			if err == nil && bytes.Equal(root, set.rootHash) {
				matching = append(matching, set)
			}
		}
		switch {
		case len(ofType) == 0:
		case len(matching) > 0:
			matching[0].signature, matching[0].state = p, signaturePresent
		case len(ofType) == 1:
			ofType[0].signature, ofType[0].state = p, signatureForeign
			if errors.Is(err, errEmptySignature) {
				ofType[0].state = signatureMissing
			}
		default:
			return fmt.Errorf("whose signature partition %d is for cannot be told", p.Number)
		}
	}
	return nil
}

var errEmptySignature = errors.New("the signature partition is empty")

// signedHash returns the root hash in a signature partition.
func (s *signer) signedHash(p gpt.Partition) ([]byte, error) {
	section := s.section(p)
	b := make([]byte, min(section.Size(), verity.SignatureSize))
	if _, err := io.ReadFull(section, b); err != nil {
		return nil, err
	}
	if len(bytes.Trim(b, "\x00")) == 0 {
		return nil, errEmptySignature
	}
	signature, err := verity.ParseSignature(b)
	if err != nil {
		return nil, err
	}
	return signature.RootHash, nil
}
