package distro

import "strings"

// Ubuntu's canonical addresses: the archive proper has only the two oldest
// architectures, everything else is in the ports archive.
const (
	ubuntuMirror   = "http://archive.ubuntu.com/ubuntu"
	ubuntuSecurity = "http://security.ubuntu.com/ubuntu"
	ubuntuPorts    = "http://ports.ubuntu.com"
)

var ubuntu = Distribution{
	Name:              "ubuntu",
	PrettyName:        "Ubuntu",
	PackageManager:    "apt",
	DefaultRelease:    "devel",
	DefaultFilesystem: "ext4",
	Keyring:           "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
	KeyringPackage:    "ubuntu-keyring",
	architectures:     debArchitectures,
	sources:           ubuntuSources,
}

// ubuntuSources lists the release, its updates and its security updates; the
// last keep their own mirror whatever Mirror= says.
func ubuntuSources(d *Distribution, r *Request) ([]Source, error) {
	if m, ok := d.hostMirror(r); ok && r.Mirror == "" {
		return d.hostSources(r, m), nil
	}
	mirror, security := ubuntuMirror, ubuntuSecurity
	if r.Architecture != "x86-64" && r.Architecture != "x86" {
		mirror, security = ubuntuPorts, ubuntuPorts
	}
	if r.Mirror != "" {
		mirror = strings.TrimRight(r.Mirror, "/")
	}
	e := entries{d: d, r: r, types: []string{"deb", "deb-src"}}
	e.add(mirror, r.Release)
	e.add(mirror, r.Release+"-updates")
	e.add(security, r.Release+"-security")
	return e.sources, nil
}
