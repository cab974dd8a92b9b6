package repart_test

import (
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/repart/reparttest"
)

// Each mistake gives one error that names the place and says what is wrong.
func TestMalformed(t *testing.T) {
	for _, m := range reparttest.All() {
		defs, _, err := repart.Parse(m.Files(), repart.Options{Architecture: "x86-64"})
		if err == nil {
			err = repart.Check(defs)
		}
		if err == nil || err.Error() != m.Error {
			t.Errorf("%q:\n got %v\nwant %s", m.Text, err, m.Error)
		}
		if strings.Contains(m.Error, "\n") {
			t.Errorf("%q gives more than one error", m.Text)
		}
		if (m.Reference == reparttest.Accepts) != (m.Reason != "") {
			t.Errorf("%q: a reason is for what systemd-repart accepts", m.Text)
		}
	}
}
