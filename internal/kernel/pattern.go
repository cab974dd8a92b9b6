package kernel

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/mkosi-go/mkosi/internal/tree"
)

// The words that stand for other patterns.
const (
	wordDefault = "default"
	wordHost    = "host"
)

// regexpPrefix marks a pattern as a regular expression, as the old settings
// KernelModulesInclude= and the like have them.
const regexpPrefix = "re:"

// pattern is one element of KernelModules= or FirmwareFiles=.
type pattern struct {
	exclude bool
	// One of these is set.
	re *regexp.Regexp
	// name is a pattern of the last component of a path.
	name string
	// globs are patterns of whole paths, one of which has to match.
	globs []string
	// inKernel says that a path may also match without its first component,
	// where that is "kernel".
	inKernel bool
	// plain says that name has no wildcards.
	plain bool
}

// patterns are evaluated in order, the last one that matches decides.
type patterns []pattern

// parsePatterns parses the elements of a setting.
func parsePatterns(texts []string) (patterns, error) {
	var list patterns
	for _, text := range texts {
		p, err := parsePattern(text)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func parsePattern(text string) (pattern, error) {
	var p pattern
	glob, exclude := strings.CutPrefix(text, "-")
	p.exclude = exclude
	if expr, ok := strings.CutPrefix(glob, regexpPrefix); ok {
		re, err := regexp.Compile(expr)
		if err != nil {
			return p, fmt.Errorf("%q is not a regular expression: %w", text, err)
		}
		p.re = re
		return p, nil
	}
	glob = normalize(glob)
	if strings.HasSuffix(glob, "/") {
		glob += "*"
	}
	switch rest, absolute := strings.CutPrefix(glob, "/"); {
	case absolute:
		p.globs, p.inKernel = []string{rest}, true
	case strings.Contains(glob, "/"):
		p.globs = []string{glob, "*/" + glob}
	default:
		p.name, p.plain = glob, !strings.ContainsAny(glob, "*?[")
	}
	return p, nil
}

// candidate is a file that patterns are about.
type candidate struct {
	// key is its path without extensions and with dashes for underscores.
	key string
	// file is what regular expressions are about: its path with extensions,
	// that of a module without a first component "kernel".
	file string
}

// matches reports whether the pattern matches a file. A regular expression may
// match any part of its path.
func (p pattern) matches(c candidate) bool {
	if p.re != nil {
		return p.re.MatchString(c.file)
	}
	name := c.key
	if p.globs == nil {
		if p.plain {
			return path.Base(name) == p.name
		}
		return tree.MatchName(p.name, path.Base(name))
	}
	for _, glob := range p.globs {
		if tree.MatchName(glob, name) {
			return true
		}
		if rest, ok := strings.CutPrefix(name, "kernel/"); ok && p.inKernel && tree.MatchName(glob, rest) {
			return true
		}
	}
	return false
}

// decide returns what the last pattern says that matches a file; matched is
// false when none does.
func (l patterns) decide(c candidate) (include, matched bool) {
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].matches(c) {
			return !l[i].exclude, true
		}
	}
	return false, false
}
