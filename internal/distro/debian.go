package distro

import (
	"errors"
	"strings"
)

var debian = Distribution{
	Name:              "debian",
	PrettyName:        "Debian",
	PackageManager:    "apt",
	DefaultRelease:    "testing",
	DefaultFilesystem: "ext4",
	Keyring:           "/usr/share/keyrings/debian-archive-keyring.gpg",
	KeyringPackage:    "debian-archive-keyring",
	architectures:     debArchitectures,
	sources:           debianSources,
}

// debianSources lists the release, its updates and its security updates.
// Unstable has neither. Debian's archives lie side by side on a mirror, so
// Mirror= names their common parent. Security updates come from where the
// host takes them, because few mirrors carry them.
func debianSources(d *Distribution, r *Request) ([]Source, error) {
	host, ok := d.hostMirror(r)
	if r.Mirror == "" {
		if !ok {
			return nil, errors.New("no mirror for Debian: this machine's apt has none configured; set Mirror= to the address above a mirror's debian/ directory")
		}
		return d.hostSources(r, host), nil
	}
	mirror := strings.TrimRight(r.Mirror, "/")
	security := mirror + "/debian-security"
	if host.security != "" {
		security = host.security
	}
	e := entries{d: d, r: r, types: []string{"deb", "deb-src"}}
	e.add(mirror+"/debian", r.Release)
	if host.debug != "" {
		e.add(host.debug, r.Release+"-debug")
	}
	if !unstable(r.Release) {
		e.add(mirror+"/debian", r.Release+"-updates")
		e.add(security, r.Release+"-security")
	}
	return e.sources, nil
}

// unstable reports whether the suite is Debian's unstable, under either name.
func unstable(release string) bool { return release == "unstable" || release == "sid" }
