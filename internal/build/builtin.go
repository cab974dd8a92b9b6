package build

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/resources/builtin"
)

// builtinTrees is the directory of the workspace with what lies within the program. No image has a name like this.
const builtinTrees = ".builtin"

// sourcePath returns where a tree of the configuration lies on this machine. What lies within the program is written to
// the workspace. Embedded files have no modes of their own: they are readable to all.
func (b *Builder) sourcePath(source string) (string, error) {
	name, ok := config.BuiltinName(source)
	if !ok {
		return source, nil
	}
	fsys, err := fs.Sub(builtin.FS, name)
	if err != nil {
		return "", err
	}
	parent := b.work.Path(builtinTrees)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(parent, "")
	if err == nil {
		err = os.CopyFS(dir, fsys)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("unpacking %s: %w", source, err)
	}
	return dir, nil
}
