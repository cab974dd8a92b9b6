package deb

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/distro/deb822"
)

// Limits on what an archive may hold, far above anything in a distribution.
const (
	maxControl      = 64 << 20 // bytes of control.tar, unpacked
	maxControlFiles = 64
	maxData         = 64 << 30 // bytes of data.tar, unpacked
	maxDictionary   = 128 << 20
)

// Archive is an open .deb file, deb(5). It must be closed.
type Archive struct {
	// Control is the package's description, without maintainer scripts.
	Control deb822.Stanza
	// Files are the other members of control.tar by name: maintainer
	// scripts, md5sums, conffiles, triggers and so on.
	Files map[string]ControlFile

	file      *os.File
	ar        *arReader
	extension string // of the data member, which tells its compression

	mu   sync.Mutex // held while the data is being decompressed
	data *os.File   // data.tar, decompressed ahead of time, or nil
}

// ControlFile is a member of control.tar.
type ControlFile struct {
	Mode    os.FileMode // permission bits
	ModTime time.Time
	Data    []byte
}

// Open opens the .deb file called name and reads its control part.
func Open(name string) (*Archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening package: %w", err)
	}
	a, err := read(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading package %s: %w", name, err)
	}
	a.file = f
	return a, nil
}

// read reads an archive up to its data part.
func read(r io.Reader) (*Archive, error) {
	ar, err := newArReader(r)
	if err != nil {
		return nil, err
	}
	name, err := ar.next()
	if err != nil || name != "debian-binary" {
		return nil, errors.New("does not start with debian-binary")
	}
	version, err := io.ReadAll(io.LimitReader(ar, 16))
	if err != nil || !bytes.HasPrefix(version, []byte("2.")) {
		return nil, fmt.Errorf("package format %q is not supported", version)
	}
	a := &Archive{ar: ar}
	for {
		name, err := ar.next()
		if err != nil {
			return nil, fmt.Errorf("no data.tar: %w", noEOF(err))
		}
		switch {
		case strings.HasPrefix(name, "_"):
		case strings.HasPrefix(name, "control.tar") && a.Files == nil:
			if err := a.readControl(ar, name); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		case strings.HasPrefix(name, "data.tar") && a.Files != nil:
			a.extension = path.Ext(name)
			return a, nil
		default:
			return nil, fmt.Errorf("unexpected member %q", name)
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readControl fills Control and Files from control.tar.
func (a *Archive) readControl(r io.Reader, name string) error {
	d, err := decompress(r, path.Ext(name))
	if err != nil {
		return err
	}
	defer d.Close()
	a.Files = map[string]ControlFile{}
	left := int64(maxControl)
	tr := tar.NewReader(io.LimitReader(d, maxControl))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		base := strings.TrimPrefix(h.Name, "./")
		if base == "" || strings.ContainsAny(base, "/\x00") || base == "." || base == ".." {
			return fmt.Errorf("control file %q", h.Name)
		}
		if left -= h.Size; left < 0 || len(a.Files) >= maxControlFiles {
			return errors.New("too much control information")
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			return err
		}
		a.Files[base] = ControlFile{os.FileMode(h.Mode & 0o777), h.ModTime, b}
	}
	stanzas, err := deb822.Parse(string(a.Files["control"].Data))
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if len(stanzas) != 1 {
		return fmt.Errorf("control has %d paragraphs", len(stanzas))
	}
	delete(a.Files, "control")
	a.Control = stanzas[0]
	return checkControl(a.Control)
}

// checkControl refuses names that could not be file names in dpkg's database.
func checkControl(c deb822.Stanza) error {
	if p := c.Get("Package"); !validPackage(p) {
		return fmt.Errorf("package name %q", p)
	}
	if arch := c.Get("Architecture"); !validPackage(arch) {
		return fmt.Errorf("architecture %q", arch)
	}
	if c.Get("Version") == "" {
		return errors.New("no version")
	}
	return nil
}

// validPackage reports whether s is a package name, Debian policy 5.6.7.
func validPackage(s string) bool {
	if s == "" || !alphanumeric(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !alphanumeric(s[i]) && strings.IndexByte("+-.", s[i]) < 0 {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z'
}

// Close closes the file.
func (a *Archive) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.data != nil {
		a.data.Close()
		a.data = nil
	}
	return a.file.Close()
}

// Unpack calls visit for each member of data.tar in order; body is the
// member's content. It can be called once.
func (a *Archive) Unpack(ctx context.Context, visit func(h *tar.Header, body io.Reader) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.data != nil {
		if _, err := a.data.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("reading decompressed data: %w", err)
		}
		return walk(a.data, visit)
	}
	return a.stream(ctx, func(r io.Reader) error { return walk(r, visit) })
}

// prefetch decompresses data.tar into memory so that Unpack is quick, unless
// that takes more than limit bytes. It returns the bytes kept.
func (a *Archive) prefetch(ctx context.Context, limit int64) (int64, error) {
	if !a.mu.TryLock() {
		return 0, nil // it is being unpacked
	}
	defer a.mu.Unlock()
	fd, err := unix.MemfdCreate("data.tar", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("creating a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "data.tar")
	var n int64
	err = a.stream(ctx, func(r io.Reader) error {
		var err error
		if n, err = io.Copy(f, io.LimitReader(r, limit)); err == nil && n == limit {
			err = errors.New("data too big to keep in memory")
		}
		return err
	})
	if err != nil {
		f.Close()
		return 0, err
	}
	a.data = f
	return n, nil
}

// stream calls consume with the decompressed data.tar.
//
// Reading xz is where the time goes, and liblzma takes less than half of what
// the best Go reader does, so dpkg-deb decompresses when the machine has it.
func (a *Archive) stream(ctx context.Context, consume func(io.Reader) error) error {
	if a.extension == ".xz" {
		if tool, err := exec.LookPath("dpkg-deb"); err == nil {
			return a.streamFrom(ctx, tool, consume)
		}
	}
	// Open has read up to here.
	d, err := decompress(a.ar, a.extension)
	if err != nil {
		return err
	}
	defer d.Close()
	return consume(d)
}

// streamFrom is stream with dpkg-deb.
func (a *Archive) streamFrom(ctx context.Context, tool string, consume func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, "--fsys-tarfile", "/dev/stdin")
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	cmd.Stdin = a.file
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting dpkg-deb: %w", err)
	}
	// A pipe of the default size makes the two processes wait for each other.
	if f, ok := out.(*os.File); ok {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, 1<<20)
	}
	werr := consume(out)
	if werr == nil {
		_, werr = io.Copy(io.Discard, out)
	} else {
		cancel()
		// dpkg-deb's own child holds standard error open until it cannot write any more.
		out.Close()
	}
	err = cmd.Wait()
	switch {
	case werr != nil:
		return werr
	case err != nil:
		return fmt.Errorf("dpkg-deb: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// walk calls visit for the members of the tar archive r.
func walk(r io.Reader, visit func(h *tar.Header, body io.Reader) error) error {
	tr := tar.NewReader(io.LimitReader(bufio.NewReaderSize(r, 256<<10), maxData))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading data.tar: %w", err)
		}
		if err := visit(h, tr); err != nil {
			return err
		}
	}
}

// decompress returns the content of a compressed tar, chosen by the name's
// extension.
func decompress(r io.Reader, ext string) (io.ReadCloser, error) {
	switch ext {
	case ".tar":
		return io.NopCloser(r), nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		x, err := xz.NewReader(bufio.NewReaderSize(r, 256<<10), maxDictionary)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDictionary))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("compression %s is not supported", ext)
}
