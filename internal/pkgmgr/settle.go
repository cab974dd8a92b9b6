package pkgmgr

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"time"

	"github.com/mkosi-go/mkosi/internal/pkgmgr/deb"
)

// identities are what maintainer scripts leave in a tree that would make two
// images of the same packages differ and that nothing in the image needs: an
// identity that is the machine's business, and a cache of inode numbers that
// ldconfig makes again when it runs.
var identities = []string{"var/lib/dbus/machine-id", "var/cache/ldconfig/aux-cache"}

// alternativesLog is what update-alternatives(1) writes; each line has a time.
const alternativesLog = "var/log/alternatives.log"

var alternativesTime = regexp.MustCompile(`(?m)^(update-alternatives )\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(: )`)

// Settle makes the tree depend on its packages alone and not on when they
// were installed. Nothing is changed when SourceDateEpoch is not set. Install
// and its like do it by themselves; it is for trees in which scripts have
// installed packages.
func (a *Apt) Settle(root string) error {
	if a.SourceDateEpoch == nil {
		return nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("opening the image's tree: %w", err)
	}
	defer r.Close()
	for _, name := range identities {
		st, err := r.Lstat(name)
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		if err := r.Remove(name); err != nil {
			return fmt.Errorf("removing %s from the image: %w", name, err)
		}
	}
	text, err := deb.ReadRegular(r, alternativesLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the image's %s: %w", alternativesLog, err)
	}
	when := time.Unix(*a.SourceDateEpoch, 0).UTC().Format(time.DateTime)
	text = alternativesTime.ReplaceAll(text, []byte("${1}"+when+"${2}"))
	if err := deb.WriteRegular(r, alternativesLog, text, 0o644); err != nil {
		return fmt.Errorf("writing the image's %s: %w", alternativesLog, err)
	}
	return nil
}
