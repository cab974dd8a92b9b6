package ui

import (
	"slices"
	"strings"
	"testing"
)

func TestWrapBreaksWhereOneWould(t *testing.T) {
	for _, tt := range []struct {
		text    string
		columns int
		want    []string
	}{
		{"one two three", 7, []string{"one two", "three"}},
		{"one, two", 5, []string{"one,", "two"}},
		{"/usr/lib/systemd", 10, []string{"/usr/lib/", "systemd"}},
		{"abcdefgh", 3, []string{"abc", "def", "gh"}},
		{"日本語", 4, []string{"日本", "語"}},
		{"日本", 1, []string{"日", "本"}},
		{"as it is", 0, []string{"as it is"}},
		{"", 5, []string{""}},
	} {
		if got := Wrap(tt.text, tt.columns); !slices.Equal(got, tt.want) {
			t.Errorf("%q in %d columns: got %q, want %q", tt.text, tt.columns, got, tt.want)
		}
	}
}

func TestTableFitsTheTerminalAndLosesNothing(t *testing.T) {
	plain := Style{}.Value
	rows := [][3]string{{"Name", "a short value", "f:1"}, {"Longer", strings.Repeat("word ", 20) + "end", "some/directory/mkosi.conf:12"}}
	for _, width := range []int{0, 50, 80, 200} {
		table := Table{Indent: 2, Width: width, Looks: [3]func(string) string{plain, plain, plain}}
		text := ""
		for _, r := range rows {
			table.Fit(r)
		}
		for _, r := range rows {
			text += table.Row(r)
		}
		for _, line := range strings.Split(text, "\n") {
			if width > 0 && Columns(line) > width || strings.TrimRight(line, " ") != line {
				t.Errorf("in %d columns: bad line %q", width, line)
			}
		}
		if n := strings.Count(text, "word"); n != 20 || !strings.Contains(text, "end") || !strings.Contains(text, ":12") {
			t.Errorf("in %d columns something is lost:\n%s", width, text)
		}
	}
	table := Table{Indent: 2, Width: 24, Looks: [3]func(string) string{plain, plain, plain}}
	row := [3]string{"A", "one two three", "f:1"}
	table.Fit(row)
	if got, want := table.Row(row), "  A  one two three  f:1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	table.Width = 22
	if got, want := table.Row(row), "  A  one two       f:1\n     three\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
