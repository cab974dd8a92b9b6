package inspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// The endings of the names of partition types that belong to a file system.
const (
	hashSuffix      = "-verity"
	signatureSuffix = "-verity-sig"
)

// isSignature reports whether a partition holds a verity signature.
func isSignature(p *Partition, r io.ReaderAt) bool {
	first := make([]byte, 1)
	_, err := r.ReadAt(first, 0)
	return err == nil && strings.HasSuffix(p.Type, signatureSuffix) && first[0] == '{'
}

// hashes describes a tree of hashes by its superblock.
func (c *Content) hashes(r io.ReaderAt) error {
	sb, err := verity.ParseSuperblock(r)
	if err != nil {
		return err
	}
	c.Verity = &Verity{
		UUID: sb.UUID, Algorithm: sb.Algorithm, DataBlockSize: sb.DataBlockSize, HashBlockSize: sb.HashBlockSize,
		DataBlocks: sb.DataBlocks, Salt: sb.Salt,
	}
	return nil
}

// signature describes a verity signature. What it is a signature of is known
// only on a disk.
func (c *Content) signature(r io.ReaderAt, size int64, o Options) error {
	sig, err := readSignature(r, size)
	if err != nil {
		return err
	}
	c.Signature = &Signature{RootHash: sig.RootHash, Fingerprint: sig.Fingerprint}
	if cert, err := keys.PKCS7Signer(sig.DER, o.Certificates); err == nil {
		c.Signature.Signer = cert.Subject.String()
	}
	c.Signature.State = state(sig.Verify(sig.RootHash, o.Certificates))
	return nil
}

// maxSignature is how much of a signature partition is read.
const maxSignature = 4 << 20

func readSignature(r io.ReaderAt, size int64) (*verity.Signature, error) {
	b := make([]byte, min(size, maxSignature))
	if err := content.ReadFull(r, b, 0); err != nil {
		return nil, err
	}
	return verity.ParseSignature(b)
}

// verity checks all trees of hashes of a disk, and the signatures of what they
// lead to.
func (im *Image) verity(ctx context.Context, s *Source, o Options) error {
	for i := range im.Partitions {
		p := &im.Partitions[i]
		if p.Content.Verity == nil {
			continue
		}
		if err := im.checkHashes(ctx, s, p, o); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.Content.Verity.State = err.Error()
		}
	}
	for i := range im.Partitions {
		if p := &im.Partitions[i]; p.Content.Signature != nil {
			im.checkSignature(p)
		}
	}
	return nil
}

// dataOf finds the partition that hashes are of: of those with the type, the
// one whose UUID is the start of the root hash, or else the only one.
func (im *Image) dataOf(p *Partition, rootHash []byte) *Partition {
	var list []*Partition
	for i := range im.Partitions {
		d := &im.Partitions[i]
		if d.Type+hashSuffix != p.Type {
			continue
		}
		if len(rootHash) >= 16 && bytes.Equal(d.UUID[:], rootHash[:16]) {
			return d
		}
		list = append(list, d)
	}
	if len(list) == 1 {
		return list[0]
	}
	return nil
}

// checkHashes compares a tree of hashes with the data.
func (im *Image) checkHashes(ctx context.Context, s *Source, p *Partition, o Options) error {
	tree := s.partition(p)
	sb, err := verity.ParseSuperblock(tree)
	if err != nil {
		return err
	}
	v := p.Content.Verity
	top, err := topHash(tree, &sb)
	if err != nil {
		return err
	}
	d := im.dataOf(p, top)
	if d == nil {
		v.RootHash = top
		return errors.New("there is no partition that the hashes are of")
	}
	v.Data = d.Number
	data := s.partition(d)
	if o.outline {
		v.RootHash = top
		return nil
	}
	if sb.DataSize() > d.Size {
		return fmt.Errorf("the hashes are of %d bytes, and partition %d has only %d", sb.DataSize(), d.Number, d.Size)
	}
	rootHash, bad, err := verity.Check(ctx, data, tree, sb)
	if err != nil {
		return err
	}
	v.RootHash = rootHash
	v.MatchesUUIDs = len(rootHash) >= 32 && bytes.Equal(d.UUID[:], rootHash[:16]) && bytes.Equal(p.UUID[:], rootHash[len(rootHash)-16:])
	for _, b := range bad {
		where := p
		if b.Level == verity.DataLevel {
			where = d
		}
		v.Bad = append(v.Bad, BadBlock{
			Partition: where.Number, Block: b.Block, Level: b.Level, Offset: b.Offset, DiskOffset: where.Offset + b.Offset,
		})
	}
	switch {
	case len(bad) >= verity.MaxBad:
		v.State = fmt.Sprintf("%d blocks or more are not what the hashes say", len(bad))
	case len(bad) == 1:
		v.State = "1 block is not what the hashes say"
	case len(bad) > 1:
		v.State = fmt.Sprintf("%d blocks are not what the hashes say", len(bad))
	case !v.MatchesUUIDs:
		v.State = "the UUIDs of the partitions are not the two halves of the root hash"
	default:
		v.State = Good
	}
	if o.Blame {
		return blame(ctx, v, data, d)
	}
	return nil
}

// topHash is the root hash of a tree, from its topmost block, which follows the
// superblock. A single block of data has no tree, and nil is returned.
func topHash(r io.ReaderAt, sb *verity.Superblock) ([]byte, error) {
	if sb.DataBlocks < 2 || sb.Algorithm != "sha256" {
		return nil, nil
	}
	b := make([]byte, sb.HashBlockSize)
	if err := content.ReadFull(r, b, int64(sb.HashBlockSize)); err != nil {
		return nil, fmt.Errorf("reading the hashes: %w", err)
	}
	sum := sha256.Sum256(append(bytes.Clone(sb.Salt), b...))
	return sum[:], nil
}

// checkSignature compares a signature with the root hash of the partition that
// it belongs to.
func (im *Image) checkSignature(p *Partition) {
	sig := p.Content.Signature
	hashType := strings.TrimSuffix(p.Type, signatureSuffix) + hashSuffix
	var roots []Hex
	for i := range im.Partitions {
		if h := &im.Partitions[i]; h.Content.Verity != nil && h.Type == hashType {
			if bytes.Equal(h.Content.Verity.RootHash, sig.RootHash) {
				return
			}
			roots = append(roots, h.Content.Verity.RootHash)
		}
	}
	switch len(roots) {
	case 0:
		sig.State = "there are no hashes that it is a signature of"
	case 1:
		sig.State = fmt.Sprintf("it is a signature of root hash %s, and that of the image is %s", sig.RootHash, roots[0])
	default:
		sig.State = fmt.Sprintf("it is a signature of root hash %s, which is that of none of the %d trees of hashes", sig.RootHash, len(roots))
	}
}

// blame finds the files that bad blocks of data belong to, where the file
// system is one that can be read and lets its files lie as they are.
func blame(ctx context.Context, v *Verity, data *io.SectionReader, d *Partition) error {
	wanted := false
	for _, b := range v.Bad {
		wanted = wanted || b.Partition == d.Number
	}
	format := Detect(data, data.Size())
	if !wanted || !format.isFileSystem() {
		return ctx.Err()
	}
	// What is damaged may be unreadable; the blocks have been told all the same.
	tree, err := readTree(ctx, data, data.Size(), format)
	if err != nil {
		return ctx.Err()
	}
	for i := range tree {
		e := &tree[i]
		if e.HardLink || e.Type() != unix.S_IFREG || e.Size == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, r := range runsOf(e) {
			for j := range v.Bad {
				b := &v.Bad[j]
				if b.Partition == d.Number && b.File == "" && r.Offset < b.Offset+int64(v.DataBlockSize) && b.Offset < r.Offset+r.Length {
					b.File = "/" + e.Path
				}
			}
		}
	}
	return nil
}
