package ini

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want []Entry
		line int // of the error
	}{
		"empty": {},
		"sections repeat and keep their order": {
			in:   "[A]\nx=1\n[B]\n[A]\nx = 2 \n",
			want: []Entry{{"A", "", "", 1}, {"A", "x", "1", 2}, {"B", "", "", 3}, {"A", "", "", 4}, {"A", "x", "2", 5}},
		},
		"comments end a line anywhere": {
			in:   "# top\n[A] # heading\nx=a#b\ny=1 # 2\n",
			want: []Entry{{"A", "", "", 2}, {"A", "x", "a", 3}, {"A", "y", "1", 4}},
		},
		"continuation passes over blanks and comments": {
			in:   "[A]\nx=a\n  b # c\n\n# d\n\te\ny=\n  f\n  g",
			want: []Entry{{"A", "", "", 1}, {"A", "x", "a\nb\ne", 2}, {"A", "y", "f\ng", 7}},
		},
		"indentation before the first assignment means nothing": {
			in:   "  [A]\n  x = 1",
			want: []Entry{{"A", "", "", 1}, {"A", "x", "1", 2}},
		},
		"equals sign and quotes are part of the value": {
			in:   "[A]\nx=a=\"b c\"",
			want: []Entry{{"A", "", "", 1}, {"A", "x", "a=\"b c\"", 2}},
		},
		"carriage returns":      {in: "[A]\r\nx=1\r\n", want: []Entry{{"A", "", "", 1}, {"A", "x", "1", 2}}},
		"semicolon":             {in: "[A]\n; no comment\n", line: 2},
		"outside of a section":  {in: "\nx=1\n", line: 2},
		"no equals sign":        {in: "[A]\nx\n", line: 2},
		"no key":                {in: "[A]\n=x\n", line: 2},
		"broken heading":        {in: "[A\n", line: 1},
		"empty heading":         {in: "[]\n", line: 1},
		"not text":              {in: "[A]\nx=\x00", line: 1},
		"not UTF-8":             {in: "[A]\nx=\xff", line: 1},
		"larger than the limit": {in: strings.Repeat("#", MaxSize+1), line: 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(tc.in))
			if tc.line != 0 {
				var e *Error
				if !errors.As(err, &e) || e.Line != tc.line {
					t.Fatalf("got error %v, want one in line %d", err, tc.line)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[A]\nx=1\n  2\n# c\n[B]\n")
	f.Add("[A]\nx=\n\n\ty#z\r\n")
	f.Add("x=1")
	f.Fuzz(func(t *testing.T, in string) {
		entries, err := Parse([]byte(in))
		if err != nil {
			return
		}
		// What was read and is written again reads the same.
		var b strings.Builder
		for _, e := range entries {
			if e.Key == "" {
				b.WriteString("[" + e.Section + "]\n")
				continue
			}
			b.WriteString(e.Key + "=" + strings.ReplaceAll(e.Value, "\n", "\n ") + "\n")
		}
		again, err := Parse([]byte(b.String()))
		if err != nil {
			t.Fatalf("%q: %v", b.String(), err)
		}
		for i := range again {
			again[i].Line = entries[i].Line
		}
		if diff := cmp.Diff(entries, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
