package output

import (
	"context"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// writeExtension writes a system or configuration extension: the tree as erofs, its dm-verity hashes, and the signature
// of their root hash.
func writeExtension(ctx context.Context, r Request, path string) error {
	opts := r.diskOptions(path)
	if err := planExtension(r.Image, &opts); err != nil {
		return err
	}
	_, err := disk.Build(ctx, opts)
	return err
}

// planExtension sets the partitions of an extension, and the key and certificate if one of them is a signature.
func planExtension(img *config.Image, opts *disk.Options) error {
	haveKey := img.VerityKey != "" && img.VerityCertificate != ""
	mode := disk.VerityMode(img.Verity)
	if mode == disk.VerityAuto && !haveKey {
		// Hashes that nobody vouches for protect nothing; who wants them says Verity=hash.
		mode = disk.VerityDisabled
	}
	plan, err := disk.PlanExtension(string(img.Format), string(img.Architecture), mode, haveKey)
	if err != nil {
		return err
	}
	opts.Definitions, opts.Defer = plan.Definitions, plan.Defer
	if plan.Sign {
		opts.Key, opts.Certificate, err = keys.LoadPair(img.VerityKey, img.VerityCertificate)
	}
	return err
}
