package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mkosi-go/mkosi/internal/disk/luks"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// encrypted is an encrypted partition, with another source inside, or nothing.
type encrypted struct {
	inner   source
	volume  *luks.Volume
	tempDir string
}

// makeVolumes makes the keys of encrypted partitions.
func (b *builder) makeVolumes() error {
	for _, p := range b.parts {
		if p.def.Encrypt == repart.EncryptOff || p.exists || p.deferred {
			continue
		}
		var err error
		if p.volume, err = b.makeVolume(p); err != nil {
			return fmt.Errorf("%s: %w", p.def.File, err)
		}
	}
	return nil
}

// makeVolume makes the key and the header of an encrypted partition.
func (b *builder) makeVolume(p *part) (*luks.Volume, error) {
	passphrase, err := b.passphrase(p.def)
	if err != nil {
		return nil, err
	}
	label := p.def.VolumeLabel
	if label == "" {
		label = "luks-" + p.label
	}
	return luks.New(luks.Options{
		UUID:          LUKSUUID(p.derived),
		Label:         label,
		Passphrase:    passphrase,
		KDF:           luks.KDF(p.def.EncryptKDF),
		SectorSize:    b.fileSystemSectorSize(p.def),
		AllowDiscards: p.def.Discard == nil || *p.def.Discard,
	})
}

// passphrase is what opens a partition: that of the image, or else the content
// of the partition's own key file, as systemd-repart has it.
func (b *builder) passphrase(d *repart.Definition) ([]byte, error) {
	if b.Passphrase != nil {
		return b.Passphrase, nil
	}
	if d.KeyFile == "" {
		return nil, fmt.Errorf("setting Encrypt=%s needs a passphrase (Passphrase=, or KeyFile= in the definition)", d.Encrypt)
	}
	f, err := os.Open(d.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading KeyFile=: %w", err)
	}
	defer f.Close()
	const limit = 8 << 20 // as cryptsetup has it
	key, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading KeyFile=: %w", err)
	}
	if len(key) > limit {
		return nil, fmt.Errorf("KeyFile=%s is larger than %d bytes", d.KeyFile, limit)
	}
	return key, nil
}

func (e *encrypted) size() int64 {
	if e.inner == nil {
		return 0
	}
	return e.inner.size()
}

// write makes the content in a temporary file without a name first: programs
// that make file systems cannot encrypt on the way. All of it is encrypted, also
// what is not used, so that the partition does not tell how much that is.
func (e *encrypted) write(ctx context.Context, image *os.File, offset, room int64) (err error) {
	if err := e.volume.WriteHeader(io.NewOffsetWriter(image, offset)); err != nil {
		return err
	}
	room -= e.volume.DataOffset()
	if e.inner == nil {
		return nil
	}
	plain, err := temporaryFile(e.tempDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.Close(), os.Remove(plain.Name())) }()
	if err := plain.Truncate(room); err != nil {
		return err
	}
	if err := e.inner.write(ctx, plain, 0, room); err != nil {
		return err
	}
	return e.volume.Encrypt(ctx, io.NewOffsetWriter(image, offset+e.volume.DataOffset()), plain, room)
}

func (e *encrypted) close() error {
	if e.inner == nil {
		return nil
	}
	return e.inner.close()
}

// temporaryFile makes a private file. It keeps its name, since programs have to
// find it.
func temporaryFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".partition-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file: %w", err)
	}
	return f, nil
}
