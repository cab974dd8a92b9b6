package inspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"hash"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

// maxPrograms is how many programs of a file system are described.
const maxPrograms = 256

// findPrograms describes the programs for firmware in a tree: unified kernel
// images and boot loaders.
func findPrograms(ctx context.Context, tree content.Tree, trusted []*x509.Certificate) ([]Program, error) {
	var list []Program
	for i := range tree {
		e := &tree[i]
		name := strings.ToLower(e.Path)
		known := strings.HasPrefix(name, "efi/") || strings.HasPrefix(name, "boot/efi/") || strings.HasPrefix(name, "efi/efi/")
		if e.Type() != unix.S_IFREG || e.HardLink || e.Size == 0 || !known || !strings.HasSuffix(name, ".efi") {
			continue
		}
		if err := ctx.Err(); err != nil || len(list) == maxPrograms {
			return list, err
		}
		p, err := openProgram(e, trusted)
		if err != nil {
			p = &Program{Size: e.Size, Problem: err.Error()}
		}
		p.Path = "/" + e.Path
		list = append(list, *p)
	}
	return list, nil
}

func openProgram(e *content.Entry, trusted []*x509.Certificate) (p *Program, err error) {
	f, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readProgram(f, e.Size, trusted)
}

// readProgram describes a program from the start of f, which is size bytes
// large and read once, in order.
func readProgram(f io.Reader, size int64, trusted []*x509.Certificate) (*Program, error) {
	head := make([]byte, min(size, pe.MaxHeaders))
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, err
	}
	h, err := pe.ParseHeader(head, size)
	if err != nil {
		return nil, err
	}
	p := &Program{Architecture: h.Architecture(), Size: size}
	w := newScanner(h)
	if err := w.scan(io.MultiReader(bytes.NewReader(head), f), size); err != nil {
		return nil, err
	}
	for i, s := range w.sections {
		p.Sections = append(p.Sections, Section{s.Name, s.Used(), w.sums[i]})
		text := strings.TrimRight(string(w.texts[s.Name]), "\x00\n")
		switch s.Name {
		case ".linux":
			p.UKI = true
		case ".uname":
			p.Uname = text
		case ".cmdline":
			p.CommandLine = text
		case ".osrel":
			p.Release = &Release{Fields: parseRelease(text)}
		}
	}
	p.Signatures = checkProgram(w.certs, w.digest.Sum(nil), trusted)
	return p, nil
}

// scanner reads a program once, and takes the sums of its sections and the
// digest that a signature is of on the way.
type scanner struct {
	*pe.File
	sections []pe.Section // by their place
	digest   hash.Hash
	sums     []Hex
	texts    map[string][]byte
	certs    []byte
}

func newScanner(f *pe.File) *scanner {
	sections := f.InFileOrder()
	return &scanner{File: f, sections: sections, digest: sha256.New(), sums: make([]Hex, len(sections)), texts: map[string][]byte{}}
}

// scan reads everything. The digest is that of the headers without checksum
// and place of signatures, of the sections, and of what follows them up to the
// signatures (Windows Authenticode Portable Executable Signature Format).
func (w *scanner) scan(r io.Reader, size int64) error {
	head := make([]byte, len(w.Header))
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	w.digest.Write(head[:w.ChecksumOffset])
	if w.CertEntryOffset > 0 {
		w.digest.Write(head[w.ChecksumOffset+4 : w.CertEntryOffset])
		w.digest.Write(head[w.CertEntryOffset+8:])
	} else {
		w.digest.Write(head[w.ChecksumOffset+4:])
	}
	at := int64(len(head))
	for i, s := range w.sections {
		sum := sha256.New()
		if s.Size > 0 {
			if _, err := io.CopyN(io.Discard, r, s.Offset-at); err != nil {
				return err
			}
			if err := w.section(r, s, sum); err != nil {
				return err
			}
			at = s.End()
		}
		w.sums[i] = sum.Sum(nil)
	}
	end := size
	if w.Certificates.Size > 0 {
		end = w.Certificates.Offset
	}
	if _, err := io.CopyN(w.digest, r, end-at); err != nil {
		return err
	}
	if pad := (8 - end%8) % 8; w.Certificates.Size == 0 {
		w.digest.Write(make([]byte, pad))
	}
	w.certs = make([]byte, w.Certificates.Size)
	if _, err := io.ReadFull(r, w.certs); err != nil && w.Certificates.Size > 0 {
		return err
	}
	return nil
}

// section reads one section, and keeps it if it is a short text.
func (w *scanner) section(r io.Reader, s pe.Section, sum hash.Hash) error {
	switch s.Name {
	case ".osrel", ".uname", ".cmdline":
		if s.Used() <= maxText {
			var b bytes.Buffer
			if _, err := io.CopyN(io.MultiWriter(w.digest, sum, &b), r, s.Used()); err != nil {
				return err
			}
			w.texts[s.Name] = b.Bytes()
			break
		}
		fallthrough
	default:
		if _, err := io.CopyN(io.MultiWriter(w.digest, sum), r, s.Used()); err != nil {
			return err
		}
	}
	_, err := io.CopyN(w.digest, r, s.Size-s.Used())
	return err
}
