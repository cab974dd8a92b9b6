// Package resources holds the configuration that is built into the program.
package resources

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed repart
var repart embed.FS

// Repart returns the built-in partition definitions of an output format, as a
// file system with repart.d(5) files at its top. Names are those of the
// directories below repart, without ".repart.d".
func Repart(name string) (fs.FS, error) {
	dir := "repart/" + name + ".repart.d"
	if _, err := fs.Stat(repart, dir); err != nil {
		return nil, fmt.Errorf("no built-in partition definitions named %q", name)
	}
	return fs.Sub(repart, dir)
}
