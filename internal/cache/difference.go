package cache

import (
	"fmt"
	"slices"
	"strings"
)

// FirstDifference says in a clause how the inputs of a step differ from those it had before, by the first input that
// does: "Packages= gained vim". It is "" if none does.
func FirstDifference(before, now Inputs) string {
	had := byName(before)
	for _, i := range now {
		old, ok := had[i.Name]
		if !ok {
			return i.Name + " is new"
		}
		if d := difference(old, i); d != "" {
			return i.Name + " " + d
		}
	}
	has := byName(now)
	for _, i := range before {
		if _, ok := has[i.Name]; !ok {
			return i.Name + " is gone"
		}
	}
	if !slices.EqualFunc(before, now, func(a, b Input) bool { return a.Name == b.Name }) {
		return "the order of the inputs changed"
	}
	return ""
}

// byName indexes inputs. Of several that have one name the last counts, before and now.
func byName(in Inputs) map[string]Input {
	m := make(map[string]Input, len(in))
	for _, i := range in {
		m[i.Name] = i
	}
	return m
}

// difference says how an input changed, in words that follow its name, or "".
func difference(old, now Input) string {
	switch {
	case old.Text != now.Text:
		return fmt.Sprintf("was %s, is now %s", show(old.Text), show(now.Text))
	case !slices.Equal(old.List, now.List):
		return listDifference(old.List, now.List)
	case old.Digest != now.Digest:
		if d := filesDifference(old.Files, now.Files); d != "" {
			return "changed: " + d
		}
		return "changed"
	}
	return ""
}

// show quotes a value where it would not be told from the words around it.
func show(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// listDifference says which words a list gained or lost.
func listDifference(old, now []string) string {
	gained, lost := without(now, old), without(old, now)
	switch {
	case len(gained) > 0 && len(lost) > 0:
		return "gained " + few(gained) + " and lost " + few(lost)
	case len(gained) > 0:
		return "gained " + few(gained)
	case len(lost) > 0:
		return "lost " + few(lost)
	}
	return "has another order"
}

// without returns the words that are more often in list than in other.
func without(list, other []string) []string {
	count := make(map[string]int, len(other))
	for _, word := range other {
		count[word]++
	}
	var rest []string
	for _, word := range list {
		if count[word]--; count[word] < 0 {
			rest = append(rest, word)
		}
	}
	return rest
}

// few names the first words of a list and counts the others.
func few(words []string) string {
	const most = 3
	shown := make([]string, 0, most)
	for _, word := range words[:min(most, len(words))] {
		shown = append(shown, show(word))
	}
	text := strings.Join(shown, ", ")
	if more := len(words) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// filesDifference names the first file that differs between two fingerprints' files, or returns "".
func filesDifference(old, now []string) string {
	before := make(map[string]string, len(old))
	for _, line := range old {
		digest, path, _ := strings.Cut(line, " ")
		before[path] = digest
	}
	for _, line := range now {
		digest, path, _ := strings.Cut(line, " ")
		was, ok := before[path]
		switch {
		case !ok && len(old) > 0:
			return show(path) + " is new"
		case ok && was != digest:
			return show(path) + " differs"
		}
		delete(before, path)
	}
	for _, line := range old {
		if _, path, _ := strings.Cut(line, " "); before[path] != "" && len(now) > 0 {
			return show(path) + " is gone"
		}
	}
	return ""
}
