package distro

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// entries collects the sources of one request.
type entries struct {
	d       *Distribution
	r       *Request
	types   []string
	keyring string // "" for the distribution's own
	sources []Source
}

func (e *entries) add(uri, suite string) {
	keyring := e.keyring
	if keyring == "" {
		keyring = e.d.Keyring
	}
	e.sources = append(e.sources, Source{
		Types:      e.types,
		URIs:       []string{uri},
		Suites:     []string{suite},
		Components: append([]string{"main"}, e.r.Components...),
		SignedBy:   keyring,
	})
}

// mirror is where a machine fetches the packages of its own distribution.
type mirror struct {
	types             []string
	archive, security string // URIs; security may be empty
	updates           bool   // the host takes the -updates suite as well
	debug             string // URI of the -debug suites; may be empty
	keyring           string // "" for the distribution's own
}

// hostMirror finds the distribution's archive among the host's sources.
func (d *Distribution) hostMirror(r *Request) (mirror, bool) {
	var m mirror
	for _, s := range r.Host {
		if len(s.URIs) == 0 || len(s.Components) == 0 || s.Trusted || !slices.Contains(s.Types, "deb") {
			continue
		}
		uri := strings.TrimRight(s.URIs[0], "/")
		for _, suite := range s.Suites {
			switch {
			case !d.owns(uri, s.SignedBy):
			case strings.Contains(suite, "/"):
			case strings.HasSuffix(suite, "-security"):
				m.security = uri
			case strings.HasSuffix(suite, "-debug"):
				m.debug = uri
			case strings.HasSuffix(suite, "-updates"):
				m.updates = true
			case strings.Contains(suite, "-backports") || strings.Contains(suite, "-proposed"):
			case m.archive == "":
				m.archive, m.types, m.keyring = uri, s.Types, s.SignedBy
			}
		}
	}
	return m, m.archive != ""
}

// owns reports whether the repository at uri is one of the distribution's:
// it is signed by the distribution's keyring, or is called after it the way
// that mirrors do ("/debian", "/debian-security").
func (d *Distribution) owns(uri, signedBy string) bool {
	if signedBy != "" {
		return signedBy == d.Keyring
	}
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	base := path.Base(u.Path)
	return base == d.Name || strings.HasPrefix(base, d.Name+"-")
}

// hostSources lists the release's suites on the host's own mirror. Sources
// and debug symbols are listed when the host lists them: a machine that has
// its own mirror often reaches nothing else.
func (d *Distribution) hostSources(r *Request, m mirror) []Source {
	e := entries{d: d, r: r, types: m.types, keyring: m.keyring}
	e.add(m.archive, r.Release)
	if m.debug != "" {
		e.add(m.debug, r.Release+"-debug")
	}
	if d.Name == "kali" || d.Name == "debian" && unstable(r.Release) {
		return e.sources
	}
	if m.updates {
		e.add(m.archive, r.Release+"-updates")
	}
	if m.security != "" {
		e.add(m.security, r.Release+"-security")
	}
	return e.sources
}
