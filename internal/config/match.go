package config

import (
	"cmp"
	"fmt"
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
	"PathExists": func(_ *resolver, _ *Setting, text, dir string) (bool, error) {
		path := tidy(text) // no variable, no tilde
		if !absolute(path) {
			path = dir + "/" + path
		}
		return text != "" && exists(path), nil
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

// inList looks for a word in a list. No word asks for an empty list.
func inList(r *resolver, s *Setting, text, _ string) (bool, error) {
	list, _ := r.value(s).([]string)
	return slices.Contains(list, text) || text == "" && len(list) == 0, nil
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
	return matchPattern(text, value), nil
}

func matchVersion(r *resolver, s *Setting, text, _ string) (bool, error) {
	return versionMatches(get[string](r, s.Name), text), nil
}

// matchBuildSource looks for a target, which is relative to where the sources
// are mounted even if the condition is written with a slash.
func matchBuildSource(r *resolver, s *Setting, text, _ string) (bool, error) {
	target := purePath(strings.TrimLeft(text, "/"))
	return slices.ContainsFunc(get[[]Tree](r, s.Name), func(t Tree) bool { return t.Target == target }), nil
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

// matches returns the condition that keeps a file out, nil if its settings
// count: all [Match] sections and one of the [TriggerMatch] sections must
// hold. Assertions that fail are an error, if the file counts at all.
func (r *resolver) matches(f *configFile) *Condition {
	if c := r.failing(f, "Match", "TriggerMatch"); c != nil {
		return c
	}
	c := r.failing(f, "Assert", "TriggerAssert")
	if c != nil {
		msg := fmt.Sprintf("the assertion %s does not hold", c.Text)
		if c.Actual != "" {
			msg += fmt.Sprintf(": it is %s", c.Actual)
		}
		e := &Error{File: f.path, Line: c.Line, Msg: msg}
		e.pointAt("")
		r.log.errors.add(e)
	}
	return c
}

// failing evaluates all sections named all, and those named trigger of which
// one is enough. It returns a condition that does not hold, or nil.
func (r *resolver) failing(f *configFile, all, trigger string) *Condition {
	var failed *Condition
	triggered := false
	for _, g := range f.groups {
		if g.section != all && g.section != trigger {
			continue
		}
		c := r.failingIn(f, g)
		switch {
		case g.section == all && c != nil:
			return c
		case g.section == trigger && c == nil:
			triggered = true
		case g.section == trigger && failed == nil:
			failed = c
		case g.section == trigger:
			failed.or(c.Text)
			failed.Actual = ""
		}
	}
	if triggered {
		return nil
	}
	return failed
}

// failingIn evaluates one section: every plain condition must hold, and one
// of those marked by a pipe if there are any.
func (r *resolver) failingIn(f *configFile, g group) *Condition {
	var plain, trigger *Condition
	triggered := false
	for _, e := range g.entries {
		text, ok := r.expand(f, e, &r.log.errors, &r.log.warnings)
		if !ok {
			return &Condition{Section: g.section, Line: e.Line, Text: conditionText(e)}
		}
		text, pipe := strings.CutPrefix(text, "|")
		text, not := strings.CutPrefix(text, "!")
		if r.log.errors.full() {
			return &Condition{Section: g.section, Line: e.Line, Text: conditionText(e)}
		}
		holds, err := r.condition(f, e, text)
		if err != nil {
			r.log.errors.add(err)
		}
		failed := func() *Condition {
			c := &Condition{Section: g.section, Line: e.Line, Text: conditionText(e)}
			if err == nil {
				c.Actual = r.actual(e.Key, Lookup(e.Key))
			}
			return c
		}
		switch holds = holds != not && err == nil; {
		case pipe && holds:
			triggered = true
		case pipe && trigger == nil:
			trigger = failed()
		case pipe:
			trigger.or(conditionText(e))
		case !holds && plain == nil:
			plain = failed()
		}
	}
	if plain == nil && !triggered {
		return trigger
	}
	return plain
}

// conditionText is a condition as it is shown, without its mark.
func conditionText(e ini.Entry) string {
	if s := Lookup(e.Key); s != nil && s.hidesText() { // there is no such condition, but it may be written
		return e.Key + "=" + hidden
	}
	return e.Key + "=" + strings.TrimPrefix(e.Value, "|")
}

// or adds a condition that would have been enough as well. Nobody reads a
// long list of them.
func (c *Condition) or(text string) {
	const more = " or another one"
	switch {
	case strings.HasSuffix(c.Text, more):
	case len(c.Text)+len(text) > 1000:
		c.Text += more
	default:
		c.Text += " or " + text
	}
}

// condition evaluates one condition without its marks.
func (r *resolver) condition(f *configFile, e ini.Entry, text string) (ok bool, problem *Error) {
	s, match := Lookup(e.Key), otherMatchers[e.Key]
	if s != nil {
		match = s.matches
	}
	if match == nil {
		return false, f.keyError(e, fmt.Sprintf("there is no condition %q for [%s]", e.Key, e.Section),
			cmp.Or(didYouMean(e.Key, conditionNames()), `mkosi documentation lists under "Conditions" what can be tested`))
	}
	if s != nil && e.Key != s.Name {
		r.log.warnings.add(f.keyError(e, fmt.Sprintf("%s is the old name of %s", e.Key, s.Name), fmt.Sprintf("write %s=", s.Name)))
	}
	ok, err := match(r, s, text, f.dir)
	if err != nil {
		if s == nil {
			s = &Setting{Name: e.Key}
		}
		return false, f.valueError(s, e, err)
	}
	return ok, nil
}

// actual is what a condition was compared with.
func (r *resolver) actual(name string, s *Setting) string {
	switch {
	case s != nil && s.hidesText():
		return hidden
	case s != nil:
		if v := r.value(s); v != nil {
			return plain(v)
		}
		return ""
	case name == "Image":
		return r.name
	case name == "HostArchitecture":
		return r.o.Host.Architecture
	case name == "SystemdVersion" && r.o.Host.SystemdVersion != nil:
		return r.o.Host.SystemdVersion()
	}
	return ""
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
