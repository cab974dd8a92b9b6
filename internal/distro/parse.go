package distro

import (
	"fmt"
	"strings"

	"github.com/mkosi-go/mkosi/internal/distro/deb822"
)

// ParseDeb822 reads a .sources file. Entries with "Enabled: no" are left out.
func ParseDeb822(text string) ([]Source, error) {
	stanzas, err := deb822.Parse(text)
	if err != nil {
		return nil, err
	}
	var all []Source
	for i, st := range stanzas {
		if v, ok := st.Lookup("Enabled"); ok && !truth(v) {
			continue
		}
		var s Source
		for _, f := range st {
			f.Value = strings.TrimSpace(f.Value)
			switch strings.ToLower(f.Name) {
			case "types":
				s.Types = strings.Fields(f.Value)
			case "uris":
				s.URIs = strings.Fields(f.Value)
			case "suites":
				s.Suites = strings.Fields(f.Value)
			case "components":
				s.Components = strings.Fields(f.Value)
			case "signed-by":
				// A value of several lines is a key itself, which is passed
				// on as it is.
				if strings.Contains(f.Value, "\n") {
					s.Options.Set("Signed-By", "\n "+f.Value)
				} else {
					s.SignedBy = f.Value
				}
			case "trusted":
				s.Trusted = truth(f.Value)
			case "enabled":
			default:
				s.Options.Set(f.Name, f.Value)
			}
		}
		if len(s.Types) == 0 || len(s.URIs) == 0 || len(s.Suites) == 0 {
			return nil, fmt.Errorf("entry %d lacks Types, URIs or Suites", i+1)
		}
		all = append(all, s)
	}
	return all, nil
}

// oneLineOptions gives the deb822 names of the options that a one-line entry
// has in brackets, where they are not the same word.
var oneLineOptions = map[string]string{
	"arch":    "Architectures",
	"lang":    "Languages",
	"target":  "Targets",
	"pdiffs":  "PDiffs",
	"by-hash": "By-Hash",
}

// ParseOneLine reads a file of the one-line style, such as sources.list.
func ParseOneLine(text string) ([]Source, error) {
	var all []Source
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		s, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func parseLine(line string) (Source, error) {
	kind, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	if kind != "deb" && kind != "deb-src" {
		return Source{}, fmt.Errorf("unknown type %q", kind)
	}
	s := Source{Types: []string{kind}}
	rest = strings.TrimSpace(rest)
	if opts, ok := strings.CutPrefix(rest, "["); ok {
		opts, rest, ok = strings.Cut(opts, "]")
		if !ok {
			return Source{}, fmt.Errorf("options without a closing bracket")
		}
		if err := s.setOptions(opts); err != nil {
			return Source{}, err
		}
	}
	words := strings.Fields(rest)
	if len(words) < 2 {
		return Source{}, fmt.Errorf("no URI and suite")
	}
	s.URIs, s.Suites, s.Components = words[:1], words[1:2], words[2:]
	return s, nil
}

func (s *Source) setOptions(opts string) error {
	for _, o := range strings.Fields(opts) {
		name, value, ok := strings.Cut(o, "=")
		name = strings.ToLower(strings.TrimRight(name, "+-"))
		if !ok || name == "" {
			return fmt.Errorf("option %q has no value", o)
		}
		switch name {
		case "signed-by":
			s.SignedBy = value
		case "trusted":
			s.Trusted = truth(value)
		default:
			if n, ok := oneLineOptions[name]; ok {
				name = n
			}
			s.Options.Set(name, strings.ReplaceAll(value, ",", " "))
		}
	}
	return nil
}

// truth is apt's idea of a yes.
func truth(v string) bool {
	switch strings.ToLower(v) {
	case "yes", "true", "with", "on", "enable", "1":
		return true
	}
	return false
}
