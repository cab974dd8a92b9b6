package pkgmgr

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/pkgmgr/deb"
)

const (
	sourcesFile = "apt/sources.list.d/mkosi.sources"
	localFile   = "apt/sources.list.d/mkosi-local.sources"
)

// Prepare completes Etc: sources, apt's configuration and the empty
// directories and files that apt and the sandbox want. It overwrites nothing
// that is there. Call it once, before everything else.
func (a *Apt) Prepare() error {
	for _, dir := range []string{
		"apt/apt.conf.d", "apt/preferences.d", "apt/sources.list.d", "apt/trusted.gpg.d", "apt/auth.conf.d",
		"alternatives", "ssl/certs", "ca-certificates", "pki/ca-trust", "pki/tls/certs",
	} {
		if err := os.MkdirAll(filepath.Join(a.Etc, dir), 0o755); err != nil {
			return fmt.Errorf("preparing the package manager: %w", err)
		}
	}
	files := map[string]string{
		"apt.conf": "Dir::Etc \"/etc/apt\";\n",
		"passwd":   "root:x:0:0:root:/root:/bin/sh\n",
		"group":    "root:x:0:\n",
		"shadow":   "", "gshadow": "", "ld.so.cache": "", "resolv.conf": "", "hosts": "", "nsswitch.conf": "",
		"ssl/openssl.cnf": "",
	}
	if err := a.checkKeyrings(); err != nil {
		return err
	}
	if len(a.Sources) > 0 {
		files[sourcesFile] = string(distro.Format(a.Sources))
	}
	if a.RepositoryDir != "" {
		files[localFile] = string(distro.Format([]distro.Source{{
			Types: []string{"deb"}, URIs: []string{"file:" + sandboxRepository}, Suites: []string{"./"}, Trusted: true,
		}}))
	}
	for name, text := range files {
		if err := writeNew(filepath.Join(a.Etc, name), text); err != nil {
			return fmt.Errorf("preparing the package manager: %w", err)
		}
	}
	if a.RepositoryDir != "" {
		if err := os.MkdirAll(a.RepositoryDir, 0o755); err != nil {
			return fmt.Errorf("creating the local repository: %w", err)
		}
		if err := index(a.RepositoryDir); err != nil {
			return fmt.Errorf("creating the local repository: %w", err)
		}
	}
	return nil
}

// checkKeyrings reports a keyring that the machine does not have, because
// apt's own message for it does not say what to do.
func (a *Apt) checkKeyrings() error {
	for _, s := range a.Sources {
		if s.SignedBy == "" || !path.IsAbs(s.SignedBy) || s.Trusted || a.NoKeyCheck {
			continue
		}
		if _, err := os.Stat(s.SignedBy); err != nil {
			return &Error{
				Msg:  fmt.Sprintf("the keyring of %s is missing on this machine: %v", s.URIs[0], err),
				hint: "install the package " + a.Distribution.KeyringPackage,
				err:  err,
			}
		}
	}
	return nil
}

// writeNew writes a file unless there is one.
func writeNew(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if os.IsExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// rules keep documentation out of the image but for the licences.
func (a *Apt) rules() []deb.Rule {
	if a.Docs {
		return nil
	}
	return slices.Clone(noDocs)
}

var noDocs = []deb.Rule{
	{Pattern: "/usr/share/doc/*"},
	{Pattern: "/usr/share/man/*"},
	{Pattern: "/usr/share/groff/*"},
	{Pattern: "/usr/share/gtk-doc/*"},
	{Pattern: "/usr/share/info/*"},
	{Pattern: "/usr/share/doc/*/copyright", Include: true},
}
