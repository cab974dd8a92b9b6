package cli

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/internal/output"
)

// sign adds the signatures that an image was built without, or replaces those that it has.
func (a *app) sign(ctx context.Context) error {
	if n := len(a.cfg.VerbArgs); n != 1 {
		return &config.Error{Msg: fmt.Sprintf("sign takes one image, and there are %d arguments", n), Hint: "name the image: mkosi sign mkosi.output/image.raw"}
	}
	o := disk.SignOptions{Path: a.cfg.VerbArgs[0], Force: a.cfg.Options.Force > 0, Check: a.cfg.Options.Check}
	if !filepath.IsAbs(o.Path) {
		o.Path = filepath.Join(a.cfg.Dir, o.Path)
	}
	if isProgram(o.Path) {
		return &hintError{fmt.Errorf("signing %s: it is a program for firmware, and mkosi sign signs the root hashes of disk images", a.short(o.Path)),
			"a build with SecureBoot=yes signs what firmware starts, also with a key in a token, see SecureBootKeySource="}
	}
	if err := a.signingKey(ctx, &o); err != nil {
		return err
	}
	for _, img := range a.cfg.Images {
		defs, err := output.Definitions(img)
		if err != nil {
			return err
		}
		o.Origins = append(o.Origins, disk.SignOrigin{Seed: img.Seed, Definitions: defs})
	}
	signed, err := disk.Sign(ctx, o)
	if errors.Is(err, disk.ErrSigned) {
		return &hintError{err, "use --force to sign it again; the signature that it has is lost then"}
	} else if err != nil {
		return err
	}
	for _, s := range signed {
		what := "added"
		if !s.Added {
			what = "wrote"
		}
		a.ui.Infof("", "%s partition %d (%s) of %s: root hash %x, signed with the certificate %s",
			what, s.Partition.Number, s.Type.Name, a.short(o.Path), s.RootHash, keys.DescribeCertificate(s.Certificate))
	}
	return nil
}

// isProgram reports whether a file is a program for UEFI firmware, such as a unified kernel image.
func isProgram(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false // whoever needs the file says so
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	_, err = pe.Parse(f, fi.Size())
	return err == nil
}

// signingKey sets what to sign with: the signature of --join-signature, or the key of the configuration.
func (a *app) signingKey(ctx context.Context, o *disk.SignOptions) (err error) {
	main := a.cfg.Main()
	r := output.VerityReference(main)
	if text := a.cfg.Options.JoinSignature; text != "" {
		if o.Join, err = parseJoined(text, a.cfg.Dir); err != nil || main.VerityCertificate == "" {
			return err
		}
		o.Certificate, err = output.LoadCertificate(ctx, main, r)
		return err
	}
	if main.VerityKey == "" || main.VerityCertificate == "" {
		return &config.Error{Msg: "signing needs a key and its certificate",
			Hint: "name them with --verity-key and --verity-certificate, or a signature that was made elsewhere with --join-signature"}
	}
	o.Key, o.Certificate, err = output.LoadKey(ctx, main, r)
	return err
}

// maxJoinedSize bounds a file with a signature, which has to fit into a partition of 16 KiB.
const maxJoinedSize = 16 << 10

// parseJoined reads HASH:SIGNATURE, where the signature is a file or base64: and its text. A relative path begins in dir.
func parseJoined(text, dir string) (*disk.JoinedSignature, error) {
	bad := func(format string, args ...any) error {
		return &config.Error{Setting: "join-signature", Msg: "--join-signature: " + fmt.Sprintf(format, args...),
			Hint: "write a root hash, a colon, and the file of its PKCS#7 signature in DER: --join-signature HASH:FILE"}
	}
	hash, signature, ok := strings.Cut(text, ":")
	if !ok || signature == "" {
		return nil, bad("%q is not HASH:SIGNATURE", text)
	}
	var j disk.JoinedSignature
	var err error
	if j.RootHash, err = hex.DecodeString(hash); err != nil || len(j.RootHash) == 0 {
		return nil, bad("%q is not a root hash", hash)
	}
	if encoded, ok := strings.CutPrefix(signature, "base64:"); ok {
		if j.DER, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, bad("what follows base64: is not that: %v", err)
		}
		return &j, nil
	}
	if !filepath.IsAbs(signature) {
		signature = filepath.Join(dir, signature)
	}
	info, err := os.Stat(signature)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the signature: %w", err)
	case !info.Mode().IsRegular() || info.Size() > maxJoinedSize:
		return nil, bad("%s is no file of at most %d bytes", signature, maxJoinedSize)
	}
	if j.DER, err = os.ReadFile(signature); err != nil {
		return nil, fmt.Errorf("reading the signature: %w", err)
	}
	return &j, nil
}
