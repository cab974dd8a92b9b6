package manual

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/ui"
)

const sample = "# One\n\nSome `code` and *stress*, a `x`y word,\nand 2 * 3 * 4.\n\n- first item\n  goes on\n- second\n\n" +
	"## Two\n\n### entry\n\n    verbatim\n\n      more\n\nText.\n\n```\n.fence 'x'\n```\n"

func TestTerminalWrapsAndIndents(t *testing.T) {
	var b bytes.Buffer
	if err := Terminal(&b, sample, ui.NewStyle(false), 30); err != nil {
		t.Fatal(err)
	}
	want := "ONE\n\n    Some code and stress, a xy\n    word, and 2 * 3 * 4.\n\n    - first item goes on\n    - second\n\n" +
		"  Two\n\n    entry\n\n            verbatim\n\n              more\n\n        Text.\n\n            .fence 'x'\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTerminalColoursOnlyLooks(t *testing.T) {
	var b bytes.Buffer
	if err := Terminal(&b, "a `code` b", ui.NewStyle(true), 80); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "a \x1b[36mcode\x1b[0m b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRoffTakesTextForNothingElse(t *testing.T) {
	got := string(Roff(&Page{Name: "p", Section: 1, Summary: "s", Markdown: "`.dot` a-b \\n 'q'\n\n    .code\n    'x\n\n# It's"}))
	for _, want := range []string{"\\fB.dot\\fR a\\-b \\en \\(aqq\\(aq\n", "\n\\&.code\n\\(aqx\n", ".SH \"IT\\(aqS\"\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
}

func TestEveryConditionIsDescribed(t *testing.T) {
	for _, name := range config.Conditions() {
		if !strings.Contains(text("conditions"), "`"+name+"=`") {
			t.Errorf("conditions.md does not describe %s=", name)
		}
	}
}

func TestEverySettingAndVerbIsInTheManual(t *testing.T) {
	page := Load("mkosi").Markdown
	for _, s := range config.Settings() {
		if !strings.Contains(page, "\n### "+s.Name+"=") {
			t.Errorf("the manual has no entry for %s=", s.Name)
		}
	}
	for _, v := range config.Verbs() {
		if !strings.Contains(page, "\n### "+string(v)+"\n") {
			t.Errorf("the manual has no entry for the verb %s", v)
		}
	}
}

func TestChoicesOfTheOutputFormatAreAllTold(t *testing.T) {
	for _, format := range config.Lookup("Format").Choices() {
		if !strings.Contains(text("outputs"), "`"+format+"`") {
			t.Errorf("outputs.md does not tell of %s", format)
		}
	}
}
