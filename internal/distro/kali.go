package distro

import "strings"

// kaliMirror is the redirector that Kali documents.
const kaliMirror = "http://http.kali.org/kali"

var kali = Distribution{
	Name:              "kali",
	PrettyName:        "Kali Linux",
	PackageManager:    "apt",
	DefaultRelease:    "kali-rolling",
	DefaultFilesystem: "ext4",
	Keyring:           "/usr/share/keyrings/kali-archive-keyring.gpg",
	KeyringPackage:    "kali-archive-keyring",
	architectures:     debArchitectures,
	sources:           kaliSources,
}

// kaliSources is one suite: Kali has neither updates nor security apart from
// it.
func kaliSources(d *Distribution, r *Request) ([]Source, error) {
	if m, ok := d.hostMirror(r); ok && r.Mirror == "" {
		return d.hostSources(r, m), nil
	}
	mirror := kaliMirror
	if r.Mirror != "" {
		mirror = strings.TrimRight(r.Mirror, "/")
	}
	e := entries{d: d, r: r, types: []string{"deb", "deb-src"}}
	e.add(mirror, r.Release)
	return e.sources, nil
}
