// Package debtest makes .deb packages and signed repositories for tests.
package debtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Epoch is the time of everything in the packages.
var Epoch = time.Unix(1_700_000_000, 0)

// Package is a package to make. Name is required.
type Package struct {
	Name, Version, Architecture string
	// Fields are more lines of the control file, each with a line feed.
	Fields string
	// Control are more members of control.tar: scripts, conffiles, triggers.
	Control map[string]string
	// Files are the members of data.tar, without the root directory.
	Files []tar.Header
	// Content is what the regular files hold, by name.
	Content map[string]string
	// Compression is of data.tar: "", ".gz", ".xz" or ".zst".
	Compression string
}

// File returns the header of a regular file.
func File(name string, mode int64) tar.Header {
	return tar.Header{Name: "." + name, Typeflag: tar.TypeReg, Mode: mode}
}

// Dir returns the header of a directory.
func Dir(name string) tar.Header {
	return tar.Header{Name: "." + name + "/", Typeflag: tar.TypeDir, Mode: 0o755}
}

// Link returns the header of a symbolic link.
func Link(name, target string) tar.Header {
	return tar.Header{Name: "." + name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}
}

func (p *Package) version() string      { return or(p.Version, "1") }
func (p *Package) architecture() string { return or(p.Architecture, "amd64") }

// FileName is what an archive calls the package.
func (p *Package) FileName() string {
	return fmt.Sprintf("%s_%s_%s.deb", p.Name, p.version(), p.architecture())
}

func (p *Package) control() string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: Nobody <nobody@example.org>\nDescription: test\n%s",
		p.Name, p.version(), p.architecture(), p.Fields)
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Bytes returns the package's .deb file.
func (p *Package) Bytes(t testing.TB) []byte {
	t.Helper()
	control := []tar.Header{{Name: "./control", Typeflag: tar.TypeReg, Mode: 0o644}}
	text := map[string]string{"./control": p.control()}
	for name, c := range p.Control {
		mode := int64(0o644)
		if strings.HasPrefix(c, "#!") {
			mode = 0o755
		}
		control = append(control, tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Mode: mode})
		text["./"+name] = c
	}
	slices.SortFunc(control, func(a, b tar.Header) int { return strings.Compare(a.Name, b.Name) })
	data := slices.Insert(slices.Clone(p.Files), 0, Dir(""))
	content := map[string]string{}
	for name, c := range p.Content {
		content["."+name] = c
	}
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	member(&b, "debian-binary", []byte("2.0\n"))
	member(&b, "control.tar.gz", compress(t, ".gz", archive(t, control, text)))
	member(&b, "data.tar"+p.Compression, compress(t, p.Compression, archive(t, data, content)))
	return b.Bytes()
}

// Write writes the package to a file of the directory and returns its path.
func (p *Package) Write(t testing.TB, dir string) string {
	t.Helper()
	name := filepath.Join(dir, p.FileName())
	if err := os.WriteFile(name, p.Bytes(t), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// member appends a member of an ar archive.
func member(b *bytes.Buffer, name string, data []byte) {
	fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, Epoch.Unix(), 0, 0, "100644", len(data))
	b.Write(data)
	if len(data)%2 == 1 {
		b.WriteByte('\n')
	}
}

func archive(t testing.TB, headers []tar.Header, content map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Size = int64(len(content[h.Name]))
		h.ModTime = Epoch
		h.Format = tar.FormatGNU
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content[h.Name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compress(t testing.TB, ext string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	var w interface {
		Write([]byte) (int, error)
		Close() error
	}
	switch ext {
	case "":
		return data
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	default:
		t.Fatalf("compression %q", ext)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Key is a signing key for repositories.
type Key struct{ entity *openpgp.Entity }

// NewKey makes a key.
func NewKey(t testing.TB) *Key {
	t.Helper()
	e, err := openpgp.NewEntity("Test", "", "test@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Key{e}
}

// WriteKeyring writes the public key, armored, to a file called name, which
// apt wants to end in .asc.
func (k *Key) WriteKeyring(t testing.TB, name string) {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.entity.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(b.Bytes(), '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// WriteRepository writes a repository of the packages below dir: the suites
// under dists, all with the same packages in each component, and the packages
// under pool. The key signs it; nil leaves it without a signature.
func WriteRepository(t testing.TB, dir string, key *Key, suites, components []string, packages ...*Package) {
	t.Helper()
	var index bytes.Buffer
	for _, p := range packages {
		data := p.Bytes(t)
		file := path.Join("pool", p.FileName())
		put(t, filepath.Join(dir, file), data)
		fmt.Fprintf(&index, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", p.control(), file, len(data), sha256.Sum256(data))
	}
	for _, suite := range suites {
		release := fmt.Sprintf("Origin: Test\nSuite: %s\nCodename: %s\nDate: %s\nArchitectures: amd64 arm64\nComponents: %s\nSHA256:\n",
			suite, suite, Epoch.UTC().Format(time.RFC1123), strings.Join(components, " "))
		for _, c := range components {
			for _, arch := range []string{"amd64", "arm64"} {
				name := path.Join(c, "binary-"+arch, "Packages")
				put(t, filepath.Join(dir, "dists", suite, name), index.Bytes())
				release += fmt.Sprintf(" %x %d %s\n", sha256.Sum256(index.Bytes()), index.Len(), name)
			}
			sources := path.Join(c, "source", "Sources")
			put(t, filepath.Join(dir, "dists", suite, sources), nil)
			release += fmt.Sprintf(" %x %d %s\n", sha256.Sum256(nil), 0, sources)
		}
		put(t, filepath.Join(dir, "dists", suite, "Release"), []byte(release))
		if key == nil {
			continue
		}
		var b bytes.Buffer
		w, err := clearsign.Encode(&b, key.entity.PrivateKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(release)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "dists", suite, "InRelease"), append(b.Bytes(), '\n'))
	}
}

func put(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
