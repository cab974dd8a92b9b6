package inspect

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"hash"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/efi/authenticode"
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
	digest, digestErr := authenticode.NewDigester(h, crypto.SHA256)
	r := io.MultiReader(bytes.NewReader(head), f)
	if digestErr == nil {
		r = io.TeeReader(r, digest)
	}
	if err := w.scan(r); err != nil {
		return nil, err
	}
	for i, s := range w.Sections {
		p.Sections = append(p.Sections, Section{s.Name, s.Used(), w.sums[i]})
	}
	w.describe(p)
	var sum []byte
	if digestErr == nil {
		sum, digestErr = digest.Sum()
	}
	p.Signatures = checkProgram(w.certs, sum, digestErr, trusted)
	return p, nil
}

// scanner reads a program once, and takes the sums of its sections on the way.
type scanner struct {
	*pe.File
	order []int    // of the sections in the file
	sums  []Hex    // of the sections
	texts []string // of short sections with texts
	certs []byte
}

func newScanner(f *pe.File) *scanner {
	w := &scanner{File: f, sums: make([]Hex, len(f.Sections)), texts: make([]string, len(f.Sections))}
	for i := range f.Sections {
		w.order = append(w.order, i)
	}
	slices.SortStableFunc(w.order, func(i, j int) int { return cmp.Compare(f.Sections[i].Offset, f.Sections[j].Offset) })
	return w
}

// scan reads everything up to the end of the signatures.
func (w *scanner) scan(r io.Reader) error {
	var at int64
	skip := func(to int64) error {
		_, err := io.CopyN(io.Discard, r, to-at)
		return err
	}
	for _, i := range w.order {
		s, sum := w.Sections[i], sha256.New()
		if s.Size > 0 {
			if err := skip(s.Offset); err != nil {
				return err
			}
			text, err := readSection(r, s, sum)
			if err != nil {
				return err
			}
			w.texts[i] = text
			at = s.End()
		}
		w.sums[i] = sum.Sum(nil)
	}
	if w.Certificates.Size == 0 {
		return skip(w.Size)
	}
	if err := skip(w.Certificates.Offset); err != nil {
		return err
	}
	w.certs = make([]byte, w.Certificates.Size)
	_, err := io.ReadFull(r, w.certs)
	return err
}

// readSection reads one section, and returns it if it is a short text.
func readSection(r io.Reader, s pe.Section, sum hash.Hash) (string, error) {
	var text bytes.Buffer
	to := io.Writer(sum)
	switch s.Name {
	case ".osrel", ".uname", ".cmdline", ".profile", ".pcrpkey", ".pcrsig":
		if s.Used() <= maxText {
			to = io.MultiWriter(sum, &text)
		}
	}
	if _, err := io.CopyN(to, r, s.Used()); err != nil {
		return "", err
	}
	_, err := io.CopyN(io.Discard, r, s.Size-s.Used())
	return text.String(), err
}
