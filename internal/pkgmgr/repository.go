package pkgmgr

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/google/renameio/v2"

	"github.com/mkosi-go/mkosi/internal/distro/deb822"
	"github.com/mkosi-go/mkosi/internal/pkgmgr/deb"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// AddPackages adds the .deb files in the directories to the local repository:
// PackageDirectories=. It may be called again, with more directories or for
// new files in the same; a file takes the place of one of the same name.
// RepositoryDir must be set and Prepare have been called, and no command may
// be running that uses the repository.
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
		if ctx.Err() != nil {
			return fmt.Errorf("adding local packages: %w", context.Cause(ctx))
		}
		if err := place(f, filepath.Join(a.RepositoryDir, filepath.Base(f))); err != nil {
			return fmt.Errorf("adding local package: %w", err)
		}
	}
	if err := index(a.RepositoryDir); err != nil {
		return fmt.Errorf("indexing local packages: %w", err)
	}
	return nil
}

// indexFile is the index of the local repository, in its directory.
const indexFile = "Packages"

// sandboxIndex is where apt looks for the index of the local repository. It is
// mounted there while apt runs: the lists are shared with other images, whose
// local repositories are others.
const sandboxIndex = sandboxLists + "/" + localListPrefix + "._Packages"

// localListPrefix begins the names of apt's files about the local repository:
// its URI and suite, as apt writes them.
const localListPrefix = "_repository_"

// repositoryOps show apt the index of the local repository in directory dir.
// From a run that updates apt's lists they hide that there is a local
// repository: it needs no update, and apt cannot replace a mounted file.
func repositoryOps(dir string, update bool) []sandbox.Op {
	if update {
		return []sandbox.Op{sandbox.WriteFile("/etc/"+localFile, nil, 0o644)}
	}
	return []sandbox.Op{sandbox.BindReadOnly(filepath.Join(dir, indexFile), sandboxIndex)}
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

// place makes target a copy of source, a hard link where possible. Opening anything but a regular file might wait for
// ever, as it does for a pipe.
func place(source, target string) error {
	source, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	if fi, err := os.Lstat(source); err != nil || !fi.Mode().IsRegular() {
		return cmp.Or(err, fmt.Errorf("%s is not a regular file", source))
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
	return writeIndex(dir, text)
}

// writeIndex writes the index of a repository. apt tells the states of a file
// apart by its size and its time in seconds, and two builds of one package may
// have both in common, so the time is made from the content.
func writeIndex(dir string, text []byte) error {
	f, err := renameio.NewPendingFile(filepath.Join(dir, indexFile), renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if _, err := f.Write(text); err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	when := time.Unix(int64(binary.BigEndian.Uint32(sum[:]))&(1<<30-1), 0)
	if err := os.Chtimes(f.Name(), when, when); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
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
