package uki

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

// chunk is how much is read and written at a time.
const chunk = 1 << 20

// writer writes one image.
type writer struct {
	out    *os.File
	stub   *pe.File
	image  *pe.Appender
	kernel pe.Range // where the kernel was written
	banks  []pcr.Bank
	buffer []byte
	result *Result
}

// newWriter starts an image with all of the stub except for its headers.
func newWriter(ctx context.Context, out *os.File, o Options) (*writer, error) {
	stub, err := pe.Parse(o.Stub, o.Stub.Size())
	if err != nil {
		return nil, fmt.Errorf("reading the stub: %w", err)
	}
	image, err := pe.NewAppender(stub, o.Stub)
	if err != nil {
		return nil, fmt.Errorf("using the stub: %w", err)
	}
	if err := out.Truncate(0); err != nil {
		return nil, err
	}
	w := &writer{out: out, stub: stub, image: image, buffer: make([]byte, chunk), result: &Result{}}
	for _, b := range pcr.Banks() {
		if slices.Contains(o.Predict, b) || o.Policies != nil && slices.Contains(o.Policies.Banks, b) {
			w.banks = append(w.banks, b)
		}
	}
	at := int64(len(stub.Header))
	if _, err := w.copy(ctx, w.at(at), io.NewSectionReader(o.Stub, at, image.Kept()-at)); err != nil {
		return nil, fmt.Errorf("copying the stub: %w", err)
	}
	return w, nil
}

// build writes everything after the stub, and the headers.
func (w *writer) build(ctx context.Context, o *Options) error {
	joins := len(o.Profiles) > 0
	base, err := w.sections(ctx, &o.Base, !joins)
	if err != nil {
		return err
	}
	if o.Base.Profile == "" || joins {
		if err := w.sbat(ctx, o, base); err != nil {
			return err
		}
	}
	if joins {
		if err := w.text(ctx, ".profile", o.Base.Profile, base); err != nil {
			return err
		}
	}
	if err := w.policies(ctx, o, 0, base, false); err != nil {
		return err
	}
	for i, p := range o.Profiles {
		own, err := w.sections(ctx, &p.Sections, true)
		if err != nil {
			return fmt.Errorf("profile %d: %w", i+1, err)
		}
		if err := w.policies(ctx, o, i+1, base.with(own), p.Unsigned); err != nil {
			return fmt.Errorf("profile %d: %w", i+1, err)
		}
	}
	return w.finish()
}

// sections writes sections, and returns the digests of their content.
func (w *writer) sections(ctx context.Context, s *Sections, profile bool) (*measured, error) {
	m := &measured{image: pcr.Image{}}
	for _, p := range s.parts(profile) {
		d, err := w.add(ctx, p)
		if err != nil {
			return nil, err
		}
		m.add(p.name, d)
	}
	return m, nil
}

// text writes a section with a short text.
func (w *writer) text(ctx context.Context, name, text string, m *measured) error {
	r := Text(text)
	d, err := w.add(ctx, part{name: name, content: r, size: r.Size()})
	if err == nil {
		m.add(name, d)
	}
	return err
}

// add writes one section and returns the digests of its content.
func (w *writer) add(ctx context.Context, p part) (d pcr.Digests, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing section %s: %w", p.name, err)
		}
	}()
	content, size, characteristics, at := p.content, p.size, uint32(pe.Data), w.image.Size()
	if p.kernel != nil {
		k, err := openKernel(p.kernel)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, k.Close()) }()
		content, size, characteristics = k, k.size, pe.Code
	}
	banks := w.banks
	if !pcr.Measured(p.name) {
		banks = nil
	}
	h := pcr.NewHasher(banks)
	n, err := w.copy(ctx, io.MultiWriter(h, w.at(at)), content)
	if err != nil {
		return nil, err
	}
	if size >= 0 && n != size {
		return nil, fmt.Errorf("%d bytes were there when %d were expected: %w", n, size, io.ErrUnexpectedEOF)
	}
	if p.kernel != nil {
		w.kernel = pe.Range{Offset: at, Size: n}
	}
	return h.Digests(), w.image.Add(p.name, n, characteristics)
}

// at is a writer to a place in the image.
func (w *writer) at(offset int64) io.Writer { return io.NewOffsetWriter(w.out, offset) }

// copy copies everything, until the context ends.
func (w *writer) copy(ctx context.Context, to io.Writer, from io.Reader) (int64, error) {
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := from.Read(w.buffer)
		if n > 0 {
			if _, err := to.Write(w.buffer[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// sbat writes the components for revocation: into the stub's own section if it
// has one, else as a new one.
func (w *writer) sbat(ctx context.Context, o *Options, base *measured) error {
	text, err := w.mergedSBAT(o)
	if err != nil {
		return err
	}
	s, ok := w.stub.Section(".sbat")
	if !ok {
		return w.text(ctx, ".sbat", text, base)
	}
	if err := w.image.Resize(".sbat", int64(len(text))); err != nil {
		return fmt.Errorf("adding the components for revocation: %w", err)
	}
	b := make([]byte, s.Size)
	copy(b, text)
	if _, err := w.out.WriteAt(b, s.Offset); err != nil {
		return fmt.Errorf("writing section .sbat: %w", err)
	}
	h := pcr.NewHasher(w.banks)
	if _, err := h.Write([]byte(text)); err != nil {
		return err
	}
	base.add(".sbat", h.Digests())
	return nil
}

// mergedSBAT is the text of the .sbat section. The kernel has been written by
// now, decompressed, and is read from there.
func (w *writer) mergedSBAT(o *Options) (string, error) {
	own := o.SBAT
	if o.Base.Kernel == nil {
		if own == "" {
			own = sbatHeader + "\n" + defaultAddon
		}
		return mergeSBAT(own), nil
	}
	if own == "" {
		own = sbatHeader + "\n" + defaultImage
	}
	stub, err := readSBAT(w.stub, o.Stub)
	if err != nil {
		return "", fmt.Errorf("reading the stub: %w", err)
	}
	kernel, err := w.kernelSBAT()
	if err != nil {
		return "", fmt.Errorf("reading the kernel: %w", err)
	}
	return mergeSBAT(stub, kernel, own), nil
}

// kernelSBAT returns the kernel's own components for revocation, and notes
// whether it is a program at all.
func (w *writer) kernelSBAT() (string, error) {
	r := io.NewSectionReader(w.out, w.kernel.Offset, w.kernel.Size)
	f, err := pe.Parse(r, r.Size())
	if err != nil {
		w.result.KernelProblem = err
		return "", nil
	}
	return readSBAT(f, r)
}

// finish writes the headers, and with them makes the file an image.
func (w *writer) finish() error {
	if err := w.out.Truncate(w.image.Size()); err != nil {
		return err
	}
	if _, err := w.out.WriteAt(w.image.Header(), 0); err != nil {
		return fmt.Errorf("writing the headers: %w", err)
	}
	w.result.Size, w.result.Sections = w.image.Size(), w.image.Sections()
	return nil
}
