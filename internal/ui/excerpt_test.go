package ui

import (
	"strings"
	"testing"
)

func TestDiagnosticPointsAtItsPlace(t *testing.T) {
	long := strings.Repeat("a", 200) + " here " + strings.Repeat("z", 200)
	for name, tt := range map[string]struct {
		d    Diagnostic
		want string
	}{
		"a place in a line": {
			Diagnostic{Message: `unknown setting "Pakcages" in [Content]`, File: "mkosi.conf.d/10-base.conf", Line: 7, Column: 1,
				Length: 8, Source: "Pakcages=systemd\nnext", Hints: []string{`did you mean "Packages"?`}},
			`error: unknown setting "Pakcages" in [Content]
  --> mkosi.conf.d/10-base.conf:7:1
   |
 7 | Pakcages=systemd
   | ^^^^^^^^
hint: did you mean "Packages"?
`},
		"a warning about a whole line with a number of three digits": {
			Diagnostic{Severity: SeverityWarning, Message: "one\ntwo", File: "f", Line: 123, Source: "x=y"},
			"warning: one\n  two\n    --> f:123\n     |\n 123 | x=y\n"},
		"a whole file": {Diagnostic{Message: "m", File: "f", Column: 4, Source: "x"}, "error: m\n  --> f\n"},
		"no file":      {Diagnostic{Message: "m", Hints: []string{"a", "b"}}, "error: m\nhint: a\nhint: b\n"},
		"tabs count as what is shown for them": {
			Diagnostic{Message: "m", File: "f", Line: 1, Column: 4, Length: 1, Source: "a\t\tb"},
			"error: m\n  --> f:1:4\n   |\n 1 | a       b\n   |         ^\n"},
		"columns are characters, wide ones take two carets": {
			Diagnostic{Message: "m", File: "f", Line: 1, Column: 3, Length: 2, Source: "\u00e9=日本x"},
			"error: m\n  --> f:1:3\n   |\n 1 | é=日本x\n   |   ^^^^\n"},
		"control characters and broken text are replaced": {
			Diagnostic{Message: "m\x1b[1m", File: "f\x07", Line: 1, Column: 3, Length: 1, Source: "\x1b\xff\u202ex\r"},
			"error: m\uFFFD[1m\n  --> f\uFFFD:1:3\n   |\n 1 | \uFFFD\uFFFD\uFFFDx\n   |   ^\n"},
		"the end of the line is right behind it": {
			Diagnostic{Message: "m", File: "f", Line: 1, Column: 99, Length: 3, Source: "abc"},
			"error: m\n  --> f:1:99\n   |\n 1 | abc\n   |    ^\n"},
		"a long line is cut around the place": {
			Diagnostic{Message: "m", File: "f", Line: 1, Column: 202, Length: 4, Source: long},
			"error: m\n  --> f:1:202\n   |\n 1 | ...aaaaaaaaaa here zzzzzzzzzzzzzzzzz...\n   |               ^^^^\n"},
		"the end of a long line has as much of it as fits": {
			Diagnostic{Message: "m", File: "f", Line: 1, Column: 406, Length: 1, Source: long},
			"error: m\n  --> f:1:406\n   |\n 1 | ..." + strings.Repeat("z", 33) + "\n   |    " + strings.Repeat(" ", 32) + "^\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.d.Render(Style{}, 45); got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func TestDiagnosticColours(t *testing.T) {
	d := Diagnostic{Message: "m", File: "f", Line: 1, Column: 1, Length: 2, Source: "ab"}
	if got := d.Render(NewStyle(true), 0); !strings.Contains(got, "\x1b[31;1merror:\x1b[0m m") || !strings.Contains(got, "\x1b[31;1m^^\x1b[0m") {
		t.Errorf("not in colour: %q", got)
	}
}

// No place and no line may make the renderer panic, or write a line that is wider than the terminal.
func FuzzDiagnostic(f *testing.F) {
	f.Add("Packages=a\tb", 3, 2, 40)
	f.Add("日本\xff", -1, 1000, 0)
	f.Fuzz(func(t *testing.T, source string, column, length, width int) {
		d := Diagnostic{Message: "m", File: "f", Line: 1, Column: column, Length: length, Source: source}
		text := d.Render(Style{}, width)
		for _, line := range strings.Split(text, "\n")[2:] {
			if n := Columns(line); width >= 40 && n > width {
				t.Errorf("line of %d columns, wider than %d: %q", n, width, line)
			}
		}
	})
}
