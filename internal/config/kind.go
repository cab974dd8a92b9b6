package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/shellwords"
)

// A kind says how the text of an assignment becomes a value of the type of
// the setting's field in [Image], and how values meet.
type kind struct {
	name    string   // as in "boolean" or "list of paths"
	choices []string // the words to choose from, for completion and messages
	// parse adds text, which is not empty, to old: the value that earlier
	// assignments in the same layer made, or nil. It may reuse old's memory.
	parse func(c *place, old any, text string) (any, error)
	// merge puts the value of a higher layer on top of that of a lower one,
	// neither nil. It is nil for kinds that hold one value, where the higher
	// one wins.
	merge func(low, high any) any
	// arrange puts the value that one layer collected in order, where the
	// order of the assignments is not that of the value.
	arrange func(v any) any
	// keeps lets an empty assignment change nothing.
	keeps bool
	// directory reads a directory that stands for the setting as a default
	// path; nil when the path itself is the value.
	directory func(c *place, path string) (any, error)
}

// collects reports whether assignments add up, and so whether an empty one
// clears what was there.
func (k *kind) collects() bool { return k.merge != nil }

// place is where an assignment stands and what it may look at.
type place struct {
	dir     string // absolute; relative paths start here
	home    string
	homeOf  func(user string) string // finds the home directory of another user, "" for none
	env     map[string]string        // of the program
	setting *Setting
	seed    uuid.UUID // what random values of the run are drawn from

	warnings *problems
	from     Origin // where the assignment stands
	links    links
	// unread is set for an assignment that does not count. What it names
	// need not exist.
	unread bool
}

// scalar is a kind with one value.
func scalar[T any](name string, parse func(c *place, text string) (T, error)) *kind {
	return &kind{name: name, parse: func(c *place, _ any, text string) (any, error) {
		v, err := parse(c, text)
		if err != nil {
			return nil, err
		}
		return v, nil
	}}
}

// list is a kind whose values are appended.
func list[T any](name string, split func(string) ([]string, error), parse func(c *place, text string) ([]T, error)) *kind {
	return &kind{
		name: name,
		parse: func(c *place, old any, text string) (any, error) {
			words, err := split(text)
			if err != nil {
				return nil, err
			}
			values, _ := old.([]T)
			for _, word := range words {
				v, err := parse(c, word)
				if err != nil {
					return nil, &wordError{word, err}
				}
				values = append(values, v...)
			}
			return values, nil
		},
		merge: func(low, high any) any { return slices.Concat(low.([]T), high.([]T)) },
	}
}

// sorted is a list of words that each layer keeps in order, whatever the
// order of the assignments.
func sorted(k *kind) *kind {
	arranged := *k
	arranged.arrange = func(v any) any { return slices.SortedFunc(slices.Values(v.([]string)), comparePackages) }
	return &arranged
}

// comparePackages orders what one asks a package manager for: names, then
// paths, then what is more than a name.
func comparePackages(a, b string) int {
	return cmp.Or(cmp.Compare(packageRank(a), packageRank(b)), cmp.Compare(a, b))
}

func packageRank(word string) int {
	switch {
	case strings.HasPrefix(word, "/"):
		return 1
	case strings.HasPrefix(word, "("):
		return 2
	}
	return 0
}

// one makes a parser of single list elements into one that may yield many.
func one[T any](parse func(c *place, text string) (T, error)) func(c *place, text string) ([]T, error) {
	return func(c *place, text string) ([]T, error) {
		v, err := parse(c, text)
		return []T{v}, err
	}
}

// dict is a kind of NAME=VALUE words, where the last value of a name wins.
func dict(name string, parse func(c *place, text string) (key, value string, err error)) *kind {
	return &kind{
		name: name,
		parse: func(c *place, old any, text string) (any, error) {
			words, err := shellwords.Split(text)
			if err != nil {
				return nil, err
			}
			values, _ := old.(map[string]string)
			if values == nil {
				values = map[string]string{}
			}
			for _, word := range words {
				k, v, err := parse(c, word)
				if err != nil {
					return nil, &wordError{word, err}
				}
				values[k] = v
			}
			return values, nil
		},
		merge: func(low, high any) any {
			values := maps.Clone(low.(map[string]string))
			maps.Copy(values, high.(map[string]string))
			return values
		},
	}
}

// enum is a kind with a fixed set of words. The words of a boolean stand for
// yes and no, where these are given.
func enum[T ~string](yes, no T, values ...T) *kind {
	k := scalar("choice", func(_ *place, text string) (T, error) {
		if v := T(text); slices.Contains(values, v) {
			return v, nil
		}
		if yes != "" {
			if b, err := parseBool(text); err == nil {
				if b {
					return yes, nil
				}
				return no, nil
			}
		}
		var zero T
		return zero, &choiceError{text: text, choices: words(values)}
	})
	k.choices = words(values)
	return k
}

func words[T ~string](values []T) []string {
	var s []string
	for _, v := range values {
		s = append(s, string(v))
	}
	return s
}

// hinter is an error that knows what to do about it.
type hinter interface {
	error
	hint() string
}

// choiceError is a word that is none of those allowed.
type choiceError struct {
	text    string
	choices []string
}

func (e *choiceError) Error() string { return fmt.Sprintf("%q is not a value it can have", e.text) }

// otherNames are what others call some of the choices.
var otherNames = map[string]Architecture{
	"amd64": ArchX86_64, "x86_64": ArchX86_64, "i386": ArchX86, "i686": ArchX86, "aarch64": ArchArm64,
	"armhf": ArchArm, "armv7l": ArchArm, "ppc64el": ArchPPC64LE, "ppc64le": ArchPPC64LE,
}

// hint names the nearest choice, or all of them.
func (e *choiceError) hint() string {
	if name, ok := otherNames[e.text]; ok && slices.Contains(e.choices, string(name)) {
		return fmt.Sprintf("write %s", name)
	}
	return cmp.Or(didYouMean(e.text, e.choices), "choose one of "+strings.Join(e.choices, ", "))
}

// splitCommas splits at commas and white space; empty words do not count.
func splitCommas(text string) ([]string, error) {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }), nil
}

// splitSpaces splits at white space.
func splitSpaces(text string) ([]string, error) { return strings.Fields(text), nil }
