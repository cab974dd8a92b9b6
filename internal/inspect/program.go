package inspect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

const (
	// maxHeaders is how large the headers of a program may be.
	maxHeaders = 64 << 10
	// maxSections is how many sections a program may have: the format allows
	// 65535, and firmware far fewer.
	maxSections = 200
	// maxPrograms is how many programs of a file system are described.
	maxPrograms = 256
	// maxCertificates is how large the table of signatures may be.
	maxCertificates = 1 << 20
)

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

// header is what of the headers of a program is needed, in bytes from the
// start of the file.
type header struct {
	raw          []byte
	machine      uint16
	size         int64 // of all headers
	sections     []section
	checksum     int64 // where it is
	certEntry    int64 // where the table says where signatures are; 0 for nowhere
	certs, certN int64 // where they are, and how many bytes
}

type section struct {
	name         string
	offset, size int64 // in the file
	used         int64 // of size
}

// readProgram describes a program from the start of f, which is size bytes
// large and read once, in order.
func readProgram(f io.Reader, size int64, trusted []*x509.Certificate) (*Program, error) {
	head := make([]byte, min(size, maxHeaders))
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, err
	}
	h, err := parseHeader(head, size)
	if err != nil {
		return nil, err
	}
	p := &Program{Architecture: architecture(h.machine), Size: size}
	w := newScanner(h)
	if err := w.scan(io.MultiReader(bytes.NewReader(head), f), size); err != nil {
		return nil, err
	}
	for i, s := range h.sections {
		p.Sections = append(p.Sections, Section{s.name, s.used, w.sums[i]})
		text := strings.TrimRight(string(w.texts[s.name]), "\x00\n")
		switch s.name {
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

// parseHeader reads the headers of a program, as the PE format has them.
func parseHeader(b []byte, size int64) (*header, error) {
	invalid := errors.New("not a program for UEFI firmware")
	if len(b) < 64 || string(b[:2]) != "MZ" {
		return nil, invalid
	}
	at := int(le.Uint32(b[60:]))
	const fileHeader, sectionHeader = 24, 40
	if at < 0 || at > len(b)-fileHeader || string(b[at:at+4]) != "PE\x00\x00" {
		return nil, invalid
	}
	h := &header{raw: b, machine: le.Uint16(b[at+4:])}
	count, optional := int(le.Uint16(b[at+6:])), int(le.Uint16(b[at+20:]))
	opt := at + fileHeader
	table := opt + optional
	if count > maxSections || optional < 96 || table+count*sectionHeader > len(b) {
		return nil, fmt.Errorf("a program with %d sections and headers of %d bytes cannot be read", count, optional)
	}
	directories := opt + 96 // in the form for 32 bits
	if le.Uint16(b[opt:]) == 0x20b {
		directories = opt + 112
	}
	const certDirectory = 4
	h.checksum, h.size = int64(opt+64), int64(le.Uint32(b[opt+60:]))
	if h.size < int64(table+count*sectionHeader) || h.size > min(size, int64(len(b))) {
		return nil, fmt.Errorf("a program with headers of %d bytes cannot be read", h.size)
	}
	if entry := directories + 8*certDirectory; entry+8 <= table && int(le.Uint32(b[directories-4:])) > certDirectory {
		h.certEntry = int64(entry)
		h.certs, h.certN = int64(le.Uint32(b[entry:])), int64(le.Uint32(b[entry+4:]))
		if h.certN > 0 && (h.certN > maxCertificates || h.certs < h.size || h.certs > size-h.certN) {
			return nil, fmt.Errorf("the signatures of a program, %d bytes at %d, lie outside of it", h.certN, h.certs)
		}
	}
	for i := range count {
		s := b[table+i*sectionHeader:]
		name, _, _ := bytes.Cut(s[:8], []byte{0})
		sec := section{name: string(name), offset: int64(le.Uint32(s[20:])), size: int64(le.Uint32(s[16:]))}
		sec.used = min(sec.size, int64(le.Uint32(s[8:])))
		h.sections = append(h.sections, sec)
	}
	return h, h.order(size)
}

// order makes sure that sections do not overlap, and sorts them by their place.
func (h *header) order(size int64) error {
	slices.SortStableFunc(h.sections, func(a, b section) int { return cmp.Compare(a.offset, b.offset) })
	end := h.size
	for _, s := range h.sections {
		if s.size == 0 {
			continue
		}
		if s.offset < end || s.size > size-s.offset || h.certN > 0 && s.offset+s.size > h.certs {
			return fmt.Errorf("section %q of a program, %d bytes at %d, lies outside of it or over another", s.name, s.size, s.offset)
		}
		end = s.offset + s.size
	}
	return nil
}

// architecture names the machine of a program as repart.d names it.
func architecture(machine uint16) string {
	names := map[uint16]string{0x14c: "x86", 0x8664: "x86-64", 0xaa64: "arm64", 0x1c2: "arm", 0x5064: "riscv64", 0x6264: "loongarch64"}
	if name := names[machine]; name != "" {
		return name
	}
	return fmt.Sprintf("machine %#x", machine)
}

// scanner reads a program once, and takes the sums of its sections and the
// digest that a signature is of on the way.
type scanner struct {
	*header
	digest hash.Hash
	sums   []Hex
	texts  map[string][]byte
	certs  []byte
}

func newScanner(h *header) *scanner {
	return &scanner{header: h, digest: sha256.New(), sums: make([]Hex, len(h.sections)), texts: map[string][]byte{}}
}

// scan reads everything. The digest is that of the headers without checksum
// and place of signatures, of the sections, and of what follows them up to the
// signatures (Windows Authenticode Portable Executable Signature Format).
func (w *scanner) scan(r io.Reader, size int64) error {
	head := make([]byte, w.size)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	w.digest.Write(head[:w.checksum])
	if w.certEntry > 0 {
		w.digest.Write(head[w.checksum+4 : w.certEntry])
		w.digest.Write(head[w.certEntry+8:])
	} else {
		w.digest.Write(head[w.checksum+4:])
	}
	at := w.size
	for i, s := range w.sections {
		sum := sha256.New()
		if s.size > 0 {
			if _, err := io.CopyN(io.Discard, r, s.offset-at); err != nil {
				return err
			}
			if err := w.section(r, s, sum); err != nil {
				return err
			}
			at = s.offset + s.size
		}
		w.sums[i] = sum.Sum(nil)
	}
	end := size
	if w.certN > 0 {
		end = w.header.certs
	}
	if _, err := io.CopyN(w.digest, r, end-at); err != nil {
		return err
	}
	if pad := (8 - end%8) % 8; w.certN == 0 {
		w.digest.Write(make([]byte, pad))
	}
	w.certs = make([]byte, w.certN)
	if _, err := io.ReadFull(r, w.certs); err != nil && w.certN > 0 {
		return err
	}
	return nil
}

// section reads one section, and keeps it if it is a short text.
func (w *scanner) section(r io.Reader, s section, sum hash.Hash) error {
	switch s.name {
	case ".osrel", ".uname", ".cmdline":
		if s.used <= maxText {
			var b bytes.Buffer
			if _, err := io.CopyN(io.MultiWriter(w.digest, sum, &b), r, s.used); err != nil {
				return err
			}
			w.texts[s.name] = b.Bytes()
			break
		}
		fallthrough
	default:
		if _, err := io.CopyN(io.MultiWriter(w.digest, sum), r, s.used); err != nil {
			return err
		}
	}
	_, err := io.CopyN(w.digest, r, s.size-s.used)
	return err
}
