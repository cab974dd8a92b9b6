package pkgmgr

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MetadataDigest returns a digest of what the repositories offered when
// MetadataDir was last brought up to date: two equal ones stand for the same
// packages in the same versions. It is "" if nothing was ever fetched. The local
// repository does not count.
//
// A repository's Release file has the digests of all its other files; see the
// repository format of the Debian wiki.
func (a *Apt) MetadataDigest() (string, error) {
	entries, err := os.ReadDir(a.listsDir())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading package metadata: %w", err)
	}
	h := sha256.New()
	found := false
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || strings.HasPrefix(name, "_repository_") || !strings.HasSuffix(name, "Release") {
			continue
		}
		size, sum, err := digest(filepath.Join(a.listsDir(), name))
		if err != nil {
			return "", fmt.Errorf("reading package metadata: %w", err)
		}
		found = true
		fmt.Fprintf(h, "%s %d %s\n", name, size, sum)
	}
	if !found {
		return "", nil
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
