package pkgmgr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/google/renameio/v2"

	"github.com/mkosi-go/mkosi/internal/distro/deb822"
	"github.com/mkosi-go/mkosi/internal/pkgmgr/deb"
)

// AddPackages adds the .deb files in the directories to the local repository
// and tells apt of them: PackageDirectories=. It may be called again with
// more directories. RepositoryDir must be set.
func (a *Apt) AddPackages(ctx context.Context, dirs []string) error {
	if a.RepositoryDir == "" {
		return errors.New("adding local packages: no local repository is set")
	}
	var files []string
	for _, dir := range dirs {
		m, err := filepath.Glob(filepath.Join(escape(dir), "*.deb"))
		if err != nil {
			return fmt.Errorf("listing local packages: %w", err)
		}
		files = append(files, m...)
	}
	for _, f := range files {
		if err := place(f, filepath.Join(a.RepositoryDir, filepath.Base(f))); err != nil {
			return fmt.Errorf("adding local package: %w", err)
		}
	}
	if err := index(a.RepositoryDir); err != nil {
		return fmt.Errorf("indexing local packages: %w", err)
	}
	return a.aptGet(ctx, aptRun{
		args: []string{"update"},
		options: []string{
			"Dir::Etc::SourceList=/etc/" + localFile,
			"Dir::Etc::SourceParts=/dev/null",
			"APT::Get::List-Cleanup=false",
		},
	})
}

// escape makes a path literal in a pattern of filepath.Glob.
func escape(p string) string {
	var b []byte
	for i := 0; i < len(p); i++ {
		if p[i] == '*' || p[i] == '?' || p[i] == '[' || p[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, p[i])
	}
	return string(b)
}

// place makes target a copy of source, a hard link where possible.
func place(source, target string) error {
	source, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(source, target) == nil {
		return nil
	}
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// index writes the Packages file of a directory of packages, with the paths
// relative to it.
func index(dir string) error {
	files, err := filepath.Glob(filepath.Join(escape(dir), "*.deb"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	var text []byte
	for _, f := range files {
		s, err := describe(f)
		if err != nil {
			return err
		}
		text = append(s.AppendTo(text), '\n')
	}
	return renameio.WriteFile(filepath.Join(dir, "Packages"), text, 0o644)
}

// describe returns the entry of a repository's index for a package.
func describe(file string) (deb822.Stanza, error) {
	p, err := deb.Open(file)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	size, sum, err := digest(file)
	if err != nil {
		return nil, err
	}
	s := slices.Clone(p.Control)
	s.Set("Filename", "./"+filepath.Base(file))
	s.Set("Size", strconv.FormatInt(size, 10))
	s.Set("SHA256", sum)
	return s, nil
}

// digest returns a file's size and SHA-256.
func digest(file string) (int64, string, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return 0, "", fmt.Errorf("reading %s: %w", file, err)
	}
	return n, hex.EncodeToString(h.Sum(nil)), nil
}
