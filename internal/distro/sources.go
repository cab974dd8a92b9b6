package distro

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/distro/deb822"
)

// Source is one entry of apt's sources, sources.list(5).
type Source struct {
	Types      []string // "deb", "deb-src"
	URIs       []string
	Suites     []string
	Components []string // none when the suite is a path ending in a slash
	// SignedBy is the path of the keyring whose keys may sign; "" lets apt
	// take its own trusted keys.
	SignedBy string
	// Trusted turns off the check of signatures for this entry.
	Trusted bool
	// Options are further fields, such as Architectures, kept as they are.
	Options deb822.Stanza
}

// Request says which repositories are wanted.
type Request struct {
	Release      string // a suite: "trixie"
	Architecture string // mkosi's name: "x86-64"
	// Mirror replaces the canonical mirror: Mirror=.
	Mirror string
	// LocalMirror replaces everything with one unsigned repository:
	// LocalMirror=.
	LocalMirror string
	// Snapshot must be empty; building from a snapshot is not supported yet.
	Snapshot string
	// Components are added to the distribution's default ones: Repositories=.
	Components []string
	// Host, when the machine runs the same distribution, is its own sources
	// as HostSources reads them. They give mirror and keyring when Mirror is
	// empty.
	Host []Source
}

// Sources returns the repositories of the distribution for the request.
func (d *Distribution) Sources(r *Request) ([]Source, error) {
	if r.Snapshot != "" {
		return nil, fmt.Errorf("building %s from a snapshot is not supported yet: Snapshot=%s", d.PrettyName, r.Snapshot)
	}
	if r.Release == "" {
		return nil, fmt.Errorf("no release of %s given", d.PrettyName)
	}
	if r.LocalMirror != "" {
		return []Source{{
			Types:      []string{"deb"},
			URIs:       []string{r.LocalMirror},
			Suites:     []string{r.Release},
			Components: []string{"main"},
			Trusted:    true,
		}}, nil
	}
	return d.sources(d, r)
}

// Format returns the text of a .sources file with the sources.
func Format(sources []Source) []byte {
	var b []byte
	for i, s := range sources {
		if i > 0 {
			b = append(b, '\n')
		}
		b = s.stanza().AppendTo(b)
	}
	return b
}

func (s *Source) stanza() deb822.Stanza {
	st := deb822.Stanza{
		{Name: "Types", Value: strings.Join(s.Types, " ")},
		{Name: "URIs", Value: strings.Join(s.URIs, " ")},
		{Name: "Suites", Value: strings.Join(s.Suites, " ")},
	}
	if len(s.Components) > 0 {
		st.Set("Components", strings.Join(s.Components, " "))
	}
	if s.SignedBy != "" {
		st.Set("Signed-By", s.SignedBy)
	}
	if s.Trusted {
		st.Set("Trusted", "yes")
	}
	for _, f := range s.Options {
		st.Set(f.Name, f.Value)
	}
	return st
}

// HostSources reads the sources that the machine's own apt uses, from
// etc/apt below root: sources.list and the .list and .sources files of
// sources.list.d, disabled entries left out. A machine without any has none.
func HostSources(root string) ([]Source, error) {
	dir := filepath.Join(root, "etc/apt")
	files := []string{filepath.Join(dir, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		m, err := filepath.Glob(filepath.Join(dir, "sources.list.d", pattern))
		if err != nil {
			return nil, fmt.Errorf("listing apt sources: %w", err)
		}
		files = append(files, m...)
	}
	slices.Sort(files[1:])
	var all []Source
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading apt sources: %w", err)
		}
		parse := ParseOneLine
		if strings.HasSuffix(f, ".sources") {
			parse = ParseDeb822
		}
		s, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("reading apt sources %s: %w", f, err)
		}
		all = append(all, s...)
	}
	return all, nil
}
