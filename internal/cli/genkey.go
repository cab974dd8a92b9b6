package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/mkosi-go/mkosi/internal/keys"
)

// genkey makes a key and a certificate in the directory of the configuration, where the defaults of every setting that
// signs something look for them.
func (a *app) genkey(context.Context) error {
	o := a.cfg.Options
	key, cert, err := keys.Generate(keys.GenerateOptions{
		CommonName: strings.ReplaceAll(o.GenkeyCommonName, "%u", a.host.User),
		ValidDays:  o.GenkeyValidDays,
		Now:        time.Now(),
		Rand:       rand.Reader,
	})
	if err != nil {
		return err
	}
	keyPath, certPath := filepath.Join(a.cfg.Dir, "mkosi.key"), filepath.Join(a.cfg.Dir, "mkosi.crt")
	if err := keys.WriteFiles(keyPath, certPath, key, cert, o.Force > 0); errors.Is(err, fs.ErrExist) {
		return &hintError{err, "use --force to replace it, and everything that it signed will have to be signed again"}
	} else if err != nil {
		return err
	}
	a.ui.Infof("", "wrote %s and %s, valid for %d days: renew them before that", keyPath, certPath, o.GenkeyValidDays)
	return nil
}
