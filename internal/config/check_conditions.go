package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ini"
)

// conditions looks at the conditions of a file: those that are wrong, and
// those that can never hold, by themselves or together with those of the
// directories around the file.
func (k *checker) conditions(r *resolver, f *configFile, around []*configFile) {
	var required []requirement
	for _, outer := range around {
		for _, g := range outer.groups {
			if g.section == "Match" {
				required = append(required, requirements(outer, g)...)
			}
		}
	}
	for _, g := range f.groups {
		for _, e := range g.entries {
			k.condition(r, f, e)
		}
		own := requirements(f, g)
		k.contradiction(f, append(slices.Clone(required), own...))
		if g.section == "Match" || g.section == "Assert" {
			required = append(required, own...)
		}
	}
}

// condition looks at one condition.
func (k *checker) condition(r *resolver, f *configFile, e ini.Entry) {
	text, _, _ := bare(e.Value)
	if strings.Contains(text, "%") {
		return // it depends on what is read before
	}
	if _, err := r.condition(f, e, text); err != nil {
		k.errors.add(err)
		return
	}
	what, names, hint := "", []string(nil), ""
	switch e.Key {
	case "Image":
		what, names = "image", k.imageNames()
		hint = didYouMean(text, names)
	case "Profiles", "Profile":
		what, names = "profile", k.profileNames()
		if hint = didYouMean(text, names); hint == "" {
			k.asked = append(k.asked, text) // a word that the command line may give
			return
		}
	default:
		return
	}
	if !slices.Contains(names, text) {
		w := f.valueError(&Setting{Name: e.Key}, e, fmt.Errorf("there is no %s %q", what, text))
		w.Hint = hint
		k.warnings.add(w)
	}
}

// bare takes the marks off a condition.
func bare(value string) (text string, pipe, not bool) {
	text, pipe = strings.CutPrefix(value, "|")
	text, not = strings.CutPrefix(text, "!")
	return text, pipe, not
}

func (k *checker) imageNames() []string {
	names := []string{MainImage, toolsName, defaultInitrdName}
	for _, src := range k.c.Sources {
		names = append(names, src.Image)
	}
	return names
}

// profileNames returns every profile that there is anywhere.
func (k *checker) profileNames() (names []string) {
	for _, src := range k.c.Sources {
		if src.Role == RoleProfile {
			names = append(names, src.Name)
		}
		if isDir(src.root) {
			for _, p := range profilesIn(src.root) {
				names = append(names, p.name)
			}
		}
	}
	return names
}

// requirement is a condition that must hold, or several of which one must,
// on something that has one value.
type requirement struct {
	file   *configFile
	group  int       // line of the section's heading
	e      ini.Entry // the last of them
	values []string
	not    bool // for a single value
}

// single lists the conditions on things that have one value and that are
// compared for equality.
var single = []string{"Distribution", "Release", "Architecture", "HostArchitecture", "Format", "Image", "ToolsTreeDistribution", "ToolsTreeRelease", "Bootloader"}

// requirements returns what must hold for a section to hold. Conditions with
// a pipe are one requirement if all are on the same thing.
func requirements(f *configFile, g group) (list []requirement) {
	var either requirement
	known := true // what the conditions with a pipe allow
	for _, e := range g.entries {
		text, pipe, not := bare(e.Value)
		certain := slices.Contains(single, e.Key) && !strings.Contains(text, "%") && text != "uefi"
		switch {
		case pipe && certain && !not && (either.values == nil || either.e.Key == e.Key):
			either = requirement{file: f, group: g.line, e: e, values: append(either.values, text)}
		case pipe:
			known = false
		case certain:
			list = append(list, requirement{file: f, group: g.line, e: e, values: []string{text}, not: not})
		}
	}
	if known && either.values != nil {
		list = append(list, either)
	}
	return list
}

// fits reports whether two requirements can hold together.
func (r requirement) fits(other requirement) bool {
	if r.e.Key != other.e.Key || r.not && other.not {
		return true
	}
	if r.not {
		r, other = other, r
	}
	return slices.ContainsFunc(r.values, func(v string) bool { return slices.Contains(other.values, v) != other.not })
}

func (r requirement) String() string {
	if r.not {
		return r.e.Key + "=!" + r.values[0]
	}
	return r.e.Key + "=" + strings.Join(r.values, " or ")
}

// contradiction reports the last of the requirements that cannot hold
// together with one before it.
func (k *checker) contradiction(f *configFile, all []requirement) {
	const maxRequirements = 200 // are compared with each other; nobody writes as many
	all = all[:min(len(all), maxRequirements)]
	for i, r := range all {
		for _, before := range all[:i] {
			if r.file != f || r.fits(before) {
				continue
			}
			w := f.valueError(&Setting{Name: r.e.Key}, r.e, fmt.Errorf("this never holds together with %s %s", before, where(f, before)))
			if before.file == f && before.group == r.group && !r.not && !before.not && len(r.values)+len(before.values) == 2 {
				w.Hint = "put a pipe before each of several values of which one is enough: " + r.e.Key + "=|" + r.values[0]
			}
			k.warnings.add(w)
			return
		}
	}
}

// where says where the other requirement stands.
func where(f *configFile, r requirement) string {
	if r.file == f {
		return fmt.Sprintf("in line %d", r.e.Line)
	}
	return fmt.Sprintf("of %s:%d", r.file.path, r.e.Line)
}
