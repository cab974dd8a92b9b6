package output

import (
	"context"
	"os"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// writeDirectory makes the tree itself the output.
func writeDirectory(ctx context.Context, r Request, path string) error {
	if r.OwnsRoot {
		return os.Rename(r.Root, path)
	}
	return tree.Copy(ctx, r.Root, path, tree.CopyOptions{IgnoreOwners: r.IgnoreOwners})
}
