package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// printed are the kinds whose values read the same when they are printed.
var printed = []string{"boolean", "feature", "text", "file name", "size", "number", "seconds since 1970", "version", "choice"}

// FuzzValues feeds any text to the parser of any setting, twice.
func FuzzValues(f *testing.F) {
	for i, s := range table {
		f.Add(i, sampleValue(s))
		f.Add(i, "1G:a,b=c")
		f.Add(i, strings.Repeat("a=b ", 100))
	}
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 2000}
	f.Fuzz(func(t *testing.T, i int, text string) {
		if i < 0 || i >= len(table) || text == "" || strings.Contains(text, "/") { // stay where nothing is
			return
		}
		s := table[i]
		at := &place{dir: "/nonexistent", home: "/nonexistent", setting: s}
		var v any
		var err error
		bound.Check(t, len(text), func() { v, err = s.kind.parse(at, nil, text) })
		if err != nil || v == nil {
			return
		}
		jsonValue(v)
		if shown := plain(v); slices.Contains(printed, s.kind.name) && shown != "" {
			again, err := s.kind.parse(at, nil, shown)
			if diff := cmp.Diff(v, again); err != nil || diff != "" {
				t.Errorf("%s=%s is printed as %q, which reads as %v, %v", s.Name, text, shown, again, err)
			}
		}
		if again, err := s.kind.parse(at, v, text); err == nil && s.kind.collects() {
			s.kind.merge(v, again)
		}
	})
}

// FuzzUKIProfile reads a file with a [UKIProfile] section.
func FuzzUKIProfile(f *testing.F) {
	f.Add("[UKIProfile]\nProfile=ID=a\n TITLE=b\nCmdline=c d\nSignExpectedPcr=no\n")
	f.Add("[UKIProfile]\nProfile=x\n")
	f.Add("[UKIProfile]\n" + strings.Repeat("Cmdline=x\n", 1000))
	f.Add("[UKIProfile]\n" + strings.Repeat("Profile=x=y\n", 1000))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 500}
	f.Fuzz(func(t *testing.T, in string) {
		bound.Check(t, len(in), func() {
			if p, err := parseUKIProfile([]byte(in)); err == nil {
				plain(p)
			}
		})
	})
}
