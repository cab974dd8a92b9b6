package build

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/mkosi-go/mkosi/internal/efi/authenticode"
	"github.com/mkosi-go/mkosi/internal/efi/variable"
	"github.com/mkosi-go/mkosi/internal/output"
)

// signingPair is a private key and its certificate.
type signingPair struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// secureBootKey returns what programs for firmware are signed with. It is loaded once: a token takes its time.
func (m *image) secureBootKey(ctx context.Context) (signingPair, error) {
	if m.secureBoot.key != nil {
		return m.secureBoot, nil
	}
	key, cert, err := output.LoadKey(ctx, m.Image, output.SecureBootReference(m.Image))
	if err != nil {
		return signingPair{}, fmt.Errorf("loading SecureBootKey= and SecureBootCertificate=: %w", err)
	}
	m.secureBoot = signingPair{key, cert}
	return m.secureBoot, nil
}

// pcrKey returns what policies for PCR values are signed with. It is loaded once, too: there are many kernels in some images.
func (m *image) pcrKey(ctx context.Context) (crypto.Signer, error) {
	if m.policyKey != nil {
		return m.policyKey, nil
	}
	key, _, err := output.LoadKey(ctx, m.Image, output.ExpectedPCRReference(m.Image))
	if err != nil {
		return nil, fmt.Errorf("loading SignExpectedPcrKey= and SignExpectedPcrCertificate=: %w", err)
	}
	m.policyKey = key
	return key, nil
}

// pcrCertificate returns the certificate of the key that policies will be signed with elsewhere.
func (m *image) pcrCertificate(ctx context.Context) (*x509.Certificate, error) {
	cert, err := output.LoadCertificate(ctx, m.Image, output.ExpectedPCRReference(m.Image))
	if err != nil {
		return nil, fmt.Errorf("loading SignExpectedPcrCertificate=: %w", err)
	}
	return cert, nil
}

// sign adds a signature to a program for firmware of size bytes and returns its new size.
func (m *image) sign(ctx context.Context, f authenticode.File, size int64) (int64, error) {
	pair, err := m.secureBootKey(ctx)
	if err != nil {
		return 0, err
	}
	if size, err = authenticode.Sign(f, size, pair.key, pair.cert); err != nil {
		return 0, fmt.Errorf("signing for Secure Boot: %w", err)
	}
	return size, nil
}

// signFile adds a signature to a program for firmware that is open for reading and writing.
func (m *image) signFile(ctx context.Context, f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = m.sign(ctx, f, fi.Size())
	return err
}

// signProgram returns a program for firmware with a signature added.
func (m *image) signProgram(ctx context.Context, program []byte) ([]byte, error) {
	f := &memoryFile{program}
	size, err := m.sign(ctx, f, int64(len(program)))
	if err != nil {
		return nil, err
	}
	return f.content[:size], nil
}

// memoryFile is a file in memory that grows.
type memoryFile struct{ content []byte }

func (f *memoryFile) ReadAt(p []byte, at int64) (int, error) {
	return bytes.NewReader(f.content).ReadAt(p, at)
}

func (f *memoryFile) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, errors.New("writing before the start")
	}
	if end := at + int64(len(p)); end > int64(len(f.content)) {
		f.content = append(f.content, make([]byte, end-int64(len(f.content)))...)
	}
	return copy(f.content[at:], p), nil
}

// enrolments returns the authenticated variables with which systemd-boot makes firmware trust the key of the image, by
// the names of the variables.
func (m *image) enrolments(ctx context.Context) (map[string][]byte, error) {
	pair, err := m.secureBootKey(ctx)
	if err != nil {
		return nil, err
	}
	updates, err := variable.Enrol(pair.key, pair.cert, m.enrolmentTime())
	if err != nil {
		return nil, fmt.Errorf("making the variables of Secure Boot: %w", err)
	}
	files := map[string][]byte{}
	for _, u := range updates {
		files[strings.TrimSuffix(u.Name, ".auth")] = u.Update
	}
	return files, nil
}

// enrolmentTime is the time of updates of firmware's variables. Firmware takes only later ones than those it has.
func (m *image) enrolmentTime() time.Time {
	if epoch := m.epoch(); !epoch.IsZero() {
		return epoch.UTC()
	}
	return time.Now().UTC()
}
