package ini

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
			want: []Entry{{Section: "A", Key: "", Value: "", Line: 1}, {Section: "A", Key: "x", Value: "1", Line: 2}, {Section: "B", Key: "", Value: "", Line: 3}, {Section: "A", Key: "", Value: "", Line: 4}, {Section: "A", Key: "x", Value: "2", Line: 5}},
		},
		"comments end a line anywhere": {
			in:   "# top\n[A] # heading\nx=a#b\ny=1 # 2\n",
			want: []Entry{{Section: "A", Key: "", Value: "", Line: 2}, {Section: "A", Key: "x", Value: "a", Line: 3}, {Section: "A", Key: "y", Value: "1", Line: 4}},
		},
		"continuation passes over blanks and comments": {
			in:   "[A]\nx=a\n  b # c\n\n# d\n\te\ny=\n  f\n  g",
			want: []Entry{{Section: "A", Key: "", Value: "", Line: 1}, {Section: "A", Key: "x", Value: "a\nb\ne", Line: 2}, {Section: "A", Key: "y", Value: "f\ng", Line: 7}},
		},
		"indentation before the first assignment means nothing": {
			in:   "  [A]\n  x = 1",
			want: []Entry{{Section: "A", Key: "", Value: "", Line: 1}, {Section: "A", Key: "x", Value: "1", Line: 2}},
		},
		"equals sign and quotes are part of the value": {
			in:   "[A]\nx=a=\"b c\"",
			want: []Entry{{Section: "A", Key: "", Value: "", Line: 1}, {Section: "A", Key: "x", Value: "a=\"b c\"", Line: 2}},
		},
		"carriage returns":      {in: "[A]\r\nx=1\r\n", want: []Entry{{Section: "A", Key: "", Value: "", Line: 1}, {Section: "A", Key: "x", Value: "1", Line: 2}}},
		"semicolon":             {in: "[A]\n; no comment\n", line: 2},
		"outside of a section":  {in: "\nx=1\n", line: 2},
		"no equals sign":        {in: "[A]\nx\n", line: 2},
		"no key":                {in: "[A]\n=x\n", line: 2},
		"broken heading":        {in: "[A\n", line: 1},
		"empty heading":         {in: "[]\n", line: 1},
		"not text":              {in: "[A]\nx=\x00", line: 2},
		"not UTF-8":             {in: "[A]\nx=\xff", line: 2},
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
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(Entry{}, "Column", "EndLine")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPositions(t *testing.T) {
	entries, err := Parse([]byte("[A]\n  \u00e4\u00f6 = 1\n   2\n\n  3\n \u00fc [x]\n[B\nlost=1\n[C]\n nothing\nx=1"))
	want := []Entry{
		{Section: "A", Line: 1, Column: 1, EndLine: 1},
		{Section: "A", Key: "\u00e4\u00f6", Value: "1\n2\n3\n\u00fc [x]", Line: 2, Column: 3, EndLine: 6},
		{Section: "C", Line: 9, Column: 1, EndLine: 9},
		{Section: "C", Key: "x", Value: "1", Line: 11, Column: 1, EndLine: 11},
	}
	if diff := cmp.Diff(want, entries); diff != "" {
		t.Error(diff)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v", err)
	}
	wantErrs := []error{
		&Error{Line: 7, Column: 1, Length: 2, Msg: `"[B" is not a section heading`, Hint: "write a name in brackets, and nothing behind it"},
		&Error{Line: 10, Column: 2, Length: 7, Msg: "this line is neither a section nor an assignment"},
	}
	if diff := cmp.Diff(wantErrs, joined.Unwrap()); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want []*Error
	}{
		"a list that is not indented is told once": {
			in:   "[A]\nx=1\ny\nz\n\nw\n",
			want: []*Error{{Line: 3, Hint: "indent it if it belongs to the value above"}, {Line: 6, Hint: "indent it if it belongs to the value above"}},
		},
		"a name without a value":             {in: "[A]\nx\n", want: []*Error{{Line: 2}}},
		"a comment of another language":      {in: "; c\n", want: []*Error{{Line: 1, Hint: "a comment starts with a number sign"}}},
		"a missing heading is told once":     {in: "x=1\ny=2\n", want: []*Error{{Line: 1, Hint: "write a heading such as [Content] above it"}}},
		"a byte order mark before a heading": {in: "\ufeff[A]\nx=1\n", want: []*Error{{Line: 1, Hint: "save the file without a byte order mark"}}},
		"a byte that is no text":             {in: "[A]\n\u00e4\xe4\n", want: []*Error{{Line: 2}}},
		"a zero byte":                        {in: "\n\n\x00", want: []*Error{{Line: 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.in))
			got := []error{err}
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				got = joined.Unwrap()
			}
			var list []*Error
			for _, err := range got {
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("got %v", err)
				}
				list = append(list, &Error{Line: e.Line, Hint: e.Hint})
			}
			if diff := cmp.Diff(tc.want, list); diff != "" {
				t.Error(diff)
			}
		})
	}
}
