package output

import (
	"context"
	"os"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// writeDirectory makes the tree itself the output.
func (w *packer) writeDirectory(ctx context.Context, path string) error {
	if !w.OwnsRoot {
		return tree.Copy(ctx, w.Root, path, tree.CopyOptions{IgnoreOwners: w.IgnoreOwners})
	}
	if err := os.Rename(w.Root, path); err != nil {
		return err
	}
	w.Root = path
	return nil
}
