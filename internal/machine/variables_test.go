package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/keys"
)

func TestVariables(t *testing.T) {
	s := newScene(t)
	own := filepath.Join(s.dir, "vars")
	s.write(own, []byte("own"), 0o644)
	for setting, want := range map[string]string{"": "template", "microsoft": "template", own: "own"} {
		s.img.FirmwareVariables = setting
		r := s.runs()
		if err := r.prepareVariables(); err != nil {
			t.Errorf("FirmwareVariables=%s: %v", setting, err)
			continue
		}
		got, err := os.ReadFile(r.variables)
		if err != nil || string(got) != want || filepath.Dir(r.variables) != r.dir {
			t.Errorf("FirmwareVariables=%s: %s has %q, want %q, error %v", setting, r.variables, got, want, err)
		}
	}
}

func TestVariablesWithKeysNeedACertificate(t *testing.T) {
	s := newScene(t)
	s.img.FirmwareVariables = "custom"
	if err := s.runs().prepareVariables(); err == nil || !strings.Contains(err.Error(), "needs SecureBootCertificate=") {
		t.Errorf("without a certificate: %v", err)
	}
	_, certificate, err := keys.Generate(keys.GenerateOptions{CommonName: "test", ValidDays: 1, Now: time.Unix(1e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	s.img.SecureBootCertificate = filepath.Join(s.dir, "mkosi.crt")
	s.write(s.img.SecureBootCertificate, certificate, 0o644)
	// What is read then is no variable store.
	if err := s.runs().prepareVariables(); err == nil || !strings.Contains(err.Error(), "reading /usr/share/vars.fd") {
		t.Errorf("with a certificate: %v", err)
	}
	s.img.SecureBootCertificateSource = config.KeySource{Type: "provider", Source: "x"}
	if err := s.runs().prepareVariables(); err == nil || !strings.Contains(err.Error(), "SecureBootCertificateSource=provider:x") {
		t.Errorf("with a certificate that is elsewhere: %v", err)
	}
}
