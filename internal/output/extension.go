package output

import (
	"context"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// writeExtension writes a system or configuration extension: the tree as erofs, its dm-verity hashes, and the signature
// of their root hash.
func writeExtension(ctx context.Context, r Request, path string) error {
	img := r.Image
	haveKey := img.VerityKey != "" && img.VerityCertificate != ""
	plan, err := disk.PlanExtension(string(img.Format), string(img.Architecture), disk.VerityMode(img.Verity), haveKey)
	if err != nil {
		return err
	}
	opts := r.diskOptions(path)
	opts.Definitions, opts.Defer = plan.Definitions, plan.Defer
	if plan.Sign {
		if opts.Key, opts.Certificate, err = keys.LoadPair(img.VerityKey, img.VerityCertificate); err != nil {
			return err
		}
	}
	_, err = disk.Build(ctx, opts)
	return err
}
