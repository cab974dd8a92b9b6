package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/ini"
)

// A matcher tells whether a condition is met: text is what stands after the
// equals sign, without its markers.
type matcher func(r *resolver, s *Setting, text, dir string) (bool, error)

// otherMatchers are conditions that are on no setting.
var otherMatchers = map[string]matcher{
	"Image": func(r *resolver, _ *Setting, text, _ string) (bool, error) { return r.name == text, nil },
	"HostArchitecture": func(r *resolver, _ *Setting, text, _ string) (bool, error) {
		v, err := Lookup("Architecture").kind.parse(nil, nil, text)
		return err == nil && v == Architecture(r.o.Host.Architecture), err
	},
	"PathExists": func(r *resolver, _ *Setting, text, dir string) (bool, error) {
		return exists(expandPath(r.place(nil, dir), text)), nil
	},
	"SystemdVersion": func(r *resolver, _ *Setting, text, _ string) (bool, error) {
		if r.o.Host.SystemdVersion == nil {
			return false, nil
		}
		return versionMatches(r.o.Host.SystemdVersion(), text), nil
	},
}

// equal compares with the value, read as an assignment would be.
func equal(r *resolver, s *Setting, text, dir string) (bool, error) {
	want, err := s.kind.parse(r.place(s, dir), nil, text)
	if err != nil {
		return false, err
	}
	return r.value(s) == want, nil
}

func inList(r *resolver, s *Setting, text, _ string) (bool, error) {
	list, _ := r.value(s).([]string)
	return slices.Contains(list, text), nil
}

func matchArchitecture(r *resolver, s *Setting, text, dir string) (bool, error) {
	if text != "uefi" {
		return equal(r, s, text, dir)
	}
	switch get[Architecture](r, s.Name) {
	case ArchX86, ArchX86_64, ArchArm, ArchArm64, ArchRISCV32, ArchRISCV64, ArchLoongArch64:
		return true, nil
	}
	return false, nil
}

func matchGlob(r *resolver, s *Setting, text, _ string) (bool, error) {
	value := get[string](r, s.Name)
	if value == "" {
		return false, nil
	}
	ok, err := filepath.Match(text, value)
	if err != nil {
		return false, fmt.Errorf("%q is not a pattern", text)
	}
	return ok, nil
}

func matchVersion(r *resolver, s *Setting, text, _ string) (bool, error) {
	return versionMatches(get[string](r, s.Name), text), nil
}

func matchBuildSource(r *resolver, s *Setting, text, _ string) (bool, error) {
	target := func(t string) string { return strings.TrimPrefix(filepath.Clean("/"+t), "/") }
	return slices.ContainsFunc(get[[]Tree](r, s.Name), func(t Tree) bool {
		return t.Target != "" && target(t.Target) == target(text)
	}), nil
}

func matchEnvironment(r *resolver, s *Setting, text, _ string) (bool, error) {
	name, want, given := strings.Cut(text, "=")
	value, ok := get[map[string]string](r, s.Name)[name]
	return ok && (!given || value == want), nil
}

// isCondition reports whether a section holds conditions rather than settings.
func isCondition(section string) bool {
	switch section {
	case "Match", "TriggerMatch", "Assert", "TriggerAssert":
		return true
	}
	return false
}

// group is one section of conditions.
type group struct {
	section string
	line    int
	entries []ini.Entry
}

// matches reports whether the conditions of a file let its settings count:
// all [Match] sections and one of the [TriggerMatch] sections must hold.
// Assertions that fail are an error, if the file counts at all.
func (r *resolver) matches(f *configFile) (bool, error) {
	if ok, _, err := r.holds(f, "Match", "TriggerMatch"); err != nil || !ok {
		return false, err
	}
	ok, failed, err := r.holds(f, "Assert", "TriggerAssert")
	if err != nil || ok {
		return ok, err
	}
	msg := "none of the [TriggerAssert] sections holds"
	if failed.section == "Assert" {
		msg = "the conditions of [Assert] do not hold"
	}
	return false, &Error{File: f.path, Line: failed.line, Msg: msg}
}

// holds evaluates all sections named all, and those named trigger of which
// one is enough. It returns a section that failed.
func (r *resolver) holds(f *configFile, all, trigger string) (ok bool, failed group, err error) {
	triggers, triggered := 0, false
	for _, g := range f.groups {
		if g.section != all && g.section != trigger {
			continue
		}
		ok, err := r.groupHolds(f, g)
		if err != nil {
			return false, g, err
		}
		switch {
		case g.section == all && !ok:
			return false, g, nil
		case g.section == trigger:
			triggers++
			triggered = triggered || ok
			failed = g
		}
	}
	return triggers == 0 || triggered, failed, nil
}

// groupHolds evaluates one section: every plain condition must hold, and one
// of those marked by a pipe if there are any.
func (r *resolver) groupHolds(f *configFile, g group) (bool, error) {
	triggers, triggered, all := 0, false, true
	for _, e := range g.entries {
		text, err := r.expand(f, e)
		if err != nil {
			return false, err
		}
		text, trigger := strings.CutPrefix(text, "|")
		text, not := strings.CutPrefix(text, "!")
		ok, err := r.condition(f, e, text)
		if err != nil {
			return false, err
		}
		ok = ok != not
		if trigger {
			triggers++
			triggered = triggered || ok
		} else {
			all = all && ok
		}
	}
	return all && (triggers == 0 || triggered), nil
}

func (r *resolver) condition(f *configFile, e ini.Entry, text string) (bool, error) {
	s, match := Lookup(e.Key), otherMatchers[e.Key]
	if s != nil {
		match = s.matches
	}
	if match == nil {
		return false, &Error{File: f.path, Line: e.Line, Setting: e.Key,
			Msg: fmt.Sprintf("there is no condition %q for [%s]", e.Key, e.Section), Hint: didYouMean(e.Key, conditionNames())}
	}
	if s != nil && e.Key != s.Name {
		r.warn(Origin{File: f.path, Line: e.Line}, s.Name, fmt.Sprintf("%s is the old name of %s", e.Key, s.Name))
	}
	ok, err := match(r, s, text, f.dir)
	if err != nil {
		if s == nil {
			s = &Setting{Name: e.Key}
		}
		return false, settingError(s, Origin{Kind: FromFile, File: f.path, Line: e.Line}, err)
	}
	return ok, nil
}

func conditionNames() []string {
	var names []string
	for name := range otherMatchers {
		names = append(names, name)
	}
	for _, s := range table {
		if s.matches != nil {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

func didYouMean(text string, candidates []string) string {
	if near := nearest(text, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}
