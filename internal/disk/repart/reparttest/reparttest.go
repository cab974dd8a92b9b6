// Package reparttest has definitions that are wrong, and says about each what
// is to be told of it and what systemd-repart(8) does with it.
package reparttest

import (
	"slices"
	"strconv"
	"strings"
	"testing/fstest"
)

// Verdict is what systemd-repart 262 does with a definition.
type Verdict int

const (
	// Rejects means that it fails.
	Rejects Verdict = iota
	// Ignores means that it tells what is wrong with a line and goes on without
	// it, so that the image is another one than its author wrote down.
	Ignores
	// Accepts means that it says nothing.
	Accepts
)

// Malformed is a set of definitions with one mistake.
type Malformed struct {
	// Text is the file 10.conf. Others follow, each below a line "-- NAME --".
	// The heading [Partition] is to be put above all of them, unless Bare says
	// that it is part of the matter.
	Text string
	Bare bool
	// Error is what is to be said about it.
	Error string
	// Reference is what systemd-repart(8) does with it. If it accepts it,
	// Reason says why it is refused all the same.
	Reference Verdict
	Reason    string
}

// Files returns the definitions.
func (m Malformed) Files() fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range Sections("-- 10.conf --\n" + m.Text + "\n") {
		if !m.Bare {
			text = "[Partition]\n" + text
		}
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// Sections splits a text at lines "-- NAME --" and returns what is below each.
func Sections(text string) map[string]string {
	name, sections := "", map[string]string{}
	for line := range strings.Lines(text) {
		if other, ok := strings.CutPrefix(line, "-- "); ok {
			name = strings.TrimSuffix(other, " --\n")
			sections[name] = ""
			continue
		}
		sections[name] += line
	}
	return sections
}

// Bits lists the attribute bits that are set, "-" if none is.
func Bits(flags uint64) string {
	var list []string
	for bit := range 64 {
		if flags&(1<<bit) != 0 {
			list = append(list, strconv.Itoa(bit))
		}
	}
	if list == nil {
		return "-"
	}
	return strings.Join(list, ",")
}

// All returns all definitions of the package.
func All() []Malformed {
	return slices.Concat(Lines(), Identity(), Sizes(), Content(), Encryption(), Sets())
}
